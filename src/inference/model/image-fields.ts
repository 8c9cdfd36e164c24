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
  honoured("image_processor_type", "the class, which gives what the file leaves out; one of those below, else refused"),
  honoured("feature_extractor_type", "the same, where `image_processor_type` is missing"),
  honoured("do_resize resample", "nearest, lanczos, bilinear or bicubic; box and Hamming are refused"),
  honoured("size", "a number, `[height, width]`, `height` and `width`, or `shortest_edge`; other shapes are refused"),
  honoured("default_to_square", "whether a number as `size` is a square or the shortest edge"),
  honoured(
    "do_center_crop crop_size",
    "the crop is cut only if `do_center_crop` is true, or is so in the class where it is missing; a crop larger than the picture is refused, and so is one smaller than the resized picture of ViT, Siglip and ConvNext, whose older versions do not crop",
  ),
  honoured("crop_pct", "of ConvNext; other classes do not know it"),
  honoured("do_rescale rescale_factor", "`1/255` where it is missing"),
  honoured(
    "do_normalize image_mean image_std",
    "three numbers, or one for all channels; the class's where they are missing",
  ),
  refusedUnless("do_pad", "false: padding is not built", only(false)),
  refusedUnless("do_flip_channel_order", "false: pictures are RGB", only(false)),
  refusedUnless("rescale_offset offset", "false: a shift of the rescaled values is not built", only(false, 0)),
  refusedUnless(
    "auto_map.AutoImageProcessor auto_map.AutoFeatureExtractor",
    "absent beside a class: a model's own code is not run",
    only(),
  ),
  refusedUnless(
    "do_*",
    "false, for any such field that is not in this table: a step that is not known here",
    only(false),
  ),
  noEffect("do_convert_rgb", "pictures are always converted to RGB, as the pipelines of transformers do"),
  noEffect("do_reduce_labels reduce_labels", "for segmentation maps"),
  noEffect("pad_size size_divisor", "for `do_pad`"),
  noEffect(
    "data_format input_data_format device return_tensors disable_grouping image_seq_length model_input_names processor_class",
    "how arrays are handed over",
  ),
  noEffectOfOthers("the classes below do not read it"),
];

const NAMED = new Set(IMAGE_FIELDS.flatMap(({ fields }) => fields));

/** @returns the first field that would change answers and is not built here */
export function refusedImageField(json: Json): RefusedField | undefined {
  // A type says which code is meant, so the model's own is not asked for.
  const isTyped = json.image_processor_type !== undefined || json.feature_extractor_type !== undefined;
  const { auto_map: own, ...rest } = json;
  const refused = refusedField(isTyped ? rest : json, IMAGE_FIELDS);
  if (refused) return refused;
  const unknown = Object.keys(json).find((key) => key.startsWith("do_") && !NAMED.has(key) && json[key] !== false);
  if (unknown === undefined) return undefined;
  return { field: unknown, problem: `expected false: this step is not known here, got ${show(json[unknown])}` };
}
