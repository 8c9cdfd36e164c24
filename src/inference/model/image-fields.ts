import {
  type FieldRule,
  honoured,
  noEffect,
  noEffectOfOthers,
  only,
  type RefusedField,
  refusedField,
  refusedUnless,
} from "./field-rules.ts";
import { type Json, show } from "./json.ts";

/** The fields of preprocessor_config.json, and of `image_processor` in processor_config.json. */
export const IMAGE_FIELDS: readonly FieldRule[] = [
  honoured("image_processor_type", "the class, which provides missing values; one of those below, else refused"),
  honoured("feature_extractor_type", "the class, if `image_processor_type` is missing"),
  honoured("do_resize resample", "nearest, lanczos, bilinear or bicubic; box and Hamming are refused"),
  honoured("size", "a number, `[height, width]`, `height` and `width`, or `shortest_edge`; other shapes are refused"),
  honoured("default_to_square", "whether a number in `size` means a square or the shortest edge"),
  honoured(
    "do_center_crop crop_size",
    "the image is cropped if `do_center_crop` is true (default: the class's value); refused: a crop larger than the resized image, and, for ViT, Siglip and ConvNext, a smaller one, since older versions of these classes do not crop",
  ),
  honoured("crop_pct", "ConvNext only; other classes ignore it"),
  honoured("do_rescale rescale_factor", "default: `1/255`"),
  honoured("do_normalize image_mean image_std", "three numbers, or one for all channels; default: the class's values"),
  refusedUnless("do_pad", "false: padding is not supported", only(false)),
  refusedUnless("do_flip_channel_order", "false: images are RGB", only(false)),
  refusedUnless("rescale_offset offset", "false: an offset of the rescaled values is not supported", only(false, 0)),
  refusedUnless(
    "auto_map.AutoImageProcessor auto_map.AutoFeatureExtractor",
    "absent, or the file names a class: code of models is not run",
    only(),
  ),
  refusedUnless(
    "do_*",
    "false (each such field that is not in this table): unknown steps are not supported",
    only(false),
  ),
  noEffect("do_convert_rgb", "images are always converted to RGB, as in the pipelines of transformers"),
  noEffect("do_reduce_labels reduce_labels", "for segmentation maps"),
  noEffect("pad_size size_divisor", "for `do_pad`"),
  noEffect(
    "data_format input_data_format device return_tensors disable_grouping image_seq_length model_input_names processor_class",
    "the format of arrays",
  ),
  noEffectOfOthers("the classes below do not read it"),
];

const NAMED = new Set(IMAGE_FIELDS.flatMap(({ fields }) => fields));

/** @returns the first field that would change answers and is not supported */
export function refusedImageField(json: Json): RefusedField | undefined {
  // If the file names a class, transformers does not use the model's own code.
  const isTyped = json.image_processor_type !== undefined || json.feature_extractor_type !== undefined;
  const { auto_map: own, ...rest } = json;
  const refused = refusedField(isTyped ? rest : json, IMAGE_FIELDS);
  if (refused) return refused;
  const unknown = Object.keys(json).find((key) => key.startsWith("do_") && !NAMED.has(key) && json[key] !== false);
  if (unknown === undefined) return undefined;
  return { field: unknown, problem: `expected false: this step is not supported, got ${show(json[unknown])}` };
}
