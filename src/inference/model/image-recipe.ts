import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { refusedImageField } from "./image-fields.ts";
import { FILTERS, PROCESSORS, type Processor, processorNameOf } from "./image-processors.ts";
import { type Json, withoutNulls } from "./json.ts";

const SideSchema = z.int().min(1).max(4096);
const TripleSchema = z.tuple([z.number(), z.number(), z.number()]);

/** How a decoded image becomes a model's input: resize, center crop, then `(value × rescale − mean) / std` for each channel. */
export const ImageRecipeSchema = z.strictObject({
  /** The size of the result in pixels. */
  width: SideSchema,
  height: SideSchema,
  /** Null: the image keeps its size. `shortest-edge` keeps the aspect ratio; the long edge is truncated to an integer. */
  resize: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("shortest-edge"), edge: SideSchema }),
      z.strictObject({ kind: z.literal("exact"), width: SideSchema, height: SideSchema }),
    ])
    .nullable(),
  /** Whether the center `width` × `height` is cropped. False: the resized image must have this size. */
  crop: z.boolean(),
  filter: z.enum(FILTERS),
  rescale: z.number().positive(),
  /** Red, green, blue, on the scale after `rescale`. */
  mean: TripleSchema,
  std: TripleSchema.refine((std) => std.every((value) => value !== 0)),
});
export type ImageRecipe = z.infer<typeof ImageRecipeSchema>;

/** The values of `resample`: Pillow's numbers of its filters. 4 (box) and 5 (Hamming) are not supported. */
const FILTER_BY_NUMBER: Record<number, ImageRecipe["filter"]> = {
  0: "nearest",
  1: "lanczos",
  2: "bilinear",
  3: "bicubic",
};

const SizeSchema = z.union([
  SideSchema,
  z.tuple([SideSchema, SideSchema]),
  z.strictObject({ shortest_edge: SideSchema }),
  z.strictObject({ height: SideSchema, width: SideSchema }),
]);
/** One number applies to all channels. */
const ChannelsSchema = z.union([TripleSchema, z.number()]);

const ConfigSchema = z.object({
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  size: SizeSchema.optional(),
  default_to_square: z.boolean().optional(),
  crop_size: SizeSchema.optional(),
  crop_pct: z.number().gt(0).max(1).optional(),
  resample: z.int().optional(),
  do_resize: z.boolean().default(true),
  do_center_crop: z.boolean().optional(),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: ChannelsSchema.optional(),
  image_std: ChannelsSchema.optional(),
});
type Config = z.infer<typeof ConfigSchema>;

/** The fields that are read here: those that IMAGE_FIELDS calls honoured. */
export const READ_IMAGE_FIELDS: readonly string[] = Object.keys(ConfigSchema.shape);

/** The file of a recipe, and the fields of config.json that determine the processor if the file does not. */
export type RecipeSource = { file?: string; modelType?: unknown; processorType?: unknown };

/**
 * The recipe in a Hugging Face `preprocessor_config.json`, as the image processors of transformers read it. Null means absent, and
 * absent values are those of the processor's class.
 * Throws MODEL_INVALID, naming the field, if a value is missing or not supported.
 */
export function parseImageRecipe(json: unknown, source: RecipeSource = {}): ImageRecipe {
  try {
    return readRecipe(withoutNulls(structuredClone(json)), source);
  } catch (error) {
    if (!(error instanceof WrongField)) throw error;
    const { file = "preprocessor_config.json" } = source;
    throw new LabelmillError("MODEL_INVALID", `${file}, ${error.message}`);
  }
}

function readRecipe(json: unknown, source: RecipeSource): ImageRecipe {
  const parsed = ConfigSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new WrongField(issue.path.join(".") || "the file", issue.message);
  }
  const refused = refusedImageField(json as Json);
  if (refused) throw new WrongField(refused.field, refused.problem);
  const config = parsed.data;
  const processor = processorOf(config, source);
  const [mean, std] = config.do_normalize
    ? [
        channels(config.image_mean, processor.mean, "image_mean"),
        channels(config.image_std, processor.std, "image_std"),
      ]
    : [channels(0), channels(1)];
  if (std.includes(0)) throw new WrongField("image_std", `expected no 0, got ${JSON.stringify(std)}`);
  return {
    ...geometryOf(config, processor),
    filter: filterOf(config, processor),
    rescale: config.do_rescale ? config.rescale_factor : 1,
    mean,
    std,
  };
}

function channels(
  value: z.infer<typeof ChannelsSchema> | undefined,
  defaultValue?: ImageRecipe["mean"],
  field = "",
): ImageRecipe["mean"] {
  const found = required(value ?? defaultValue, field);
  return typeof found === "number" ? [found, found, found] : [...found];
}

function processorOf(config: Config, { modelType, processorType }: RecipeSource): Processor {
  const type = config.image_processor_type ?? config.feature_extractor_type ?? textOf(processorType);
  const name = type?.replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, "") ?? processorNameOf(modelType);
  // Files without a class, of models without a processor, are from the oldest versions of ViT or, with crop_pct, ConvNext. They contain all
  // other values.
  if (name === undefined) {
    const { square, filter, cropPct } = config.crop_pct ? PROCESSORS.ConvNext! : PROCESSORS.ViT!;
    return { square, filter, crop: false, size: undefined, ...(cropPct && { cropPct }) };
  }
  if (Object.hasOwn(PROCESSORS, name)) return PROCESSORS[name]!;
  const known = Object.keys(PROCESSORS).join(", ");
  const got = type === undefined ? `none, so ${name} for the model_type ${modelType}` : JSON.stringify(type);
  throw new WrongField("image_processor_type", `expected the processor of one of ${known}, got ${got}`);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function filterOf(config: Config, processor: Processor): ImageRecipe["filter"] {
  if (config.resample === undefined) return processor.filter;
  const filter = FILTER_BY_NUMBER[config.resample];
  if (filter) return filter;
  throw new WrongField(
    "resample",
    `expected 0 (nearest), 1 (lanczos), 2 (bilinear) or 3 (bicubic), got ${config.resample}`,
  );
}

function geometryOf(config: Config, processor: Processor): Pick<ImageRecipe, "width" | "height" | "resize" | "crop"> {
  const square = config.default_to_square ?? processor.square;
  const resize = config.do_resize ? sizeOf(required(config.size ?? processor.size, "size"), square) : null;
  const isCropped = required(config.do_center_crop ?? processor.crop, "do_center_crop");
  if (resize && processor.cropPct) return checkCrop(config, processor, cropPctGeometry(resize, config.crop_pct));
  if (!isCropped) {
    const whole = resize ?? sizeOf(required(config.size ?? processor.size, "size"), true);
    if (whole.kind === "exact") return { width: whole.width, height: whole.height, resize, crop: false };
    throw new WrongField(
      "do_center_crop",
      "expected true, or a size with height and width, got neither: the model needs one fixed size",
    );
  }
  if (processor.mayIgnoreCrop && resize?.kind === "exact") checkCrop(config, processor, resize);
  const { width, height } = cropSizeOf(config, processor);
  const least = resize?.kind === "exact" ? resize : { width: resize?.edge ?? width, height: resize?.edge ?? height };
  if (width > least.width || height > least.height) {
    throw new WrongField(
      "crop_size",
      `expected at most the size of the resized image, ${least.width} × ${least.height}, got ${width} × ${height}: the crop would need padding`,
    );
  }
  return { width, height, resize, crop: true };
}

function cropSizeOf(config: Config, processor: Processor): { width: number; height: number } {
  const crop = sizeOf(required(config.crop_size ?? processor.cropSize, "crop_size"), true);
  if (crop.kind === "exact") return crop;
  throw new WrongField("crop_size", "expected a number, or height and width, got shortest_edge");
}

/** Older versions of some processors ignore `do_center_crop`, newer ones crop: the crop must have the size of the resized image. */
function checkCrop<T extends { width: number; height: number }>(config: Config, processor: Processor, resized: T): T {
  if (!config.do_center_crop) return resized;
  const { width, height } = cropSizeOf(config, processor);
  if (width === resized.width && height === resized.height) return resized;
  throw new WrongField(
    "do_center_crop",
    `expected false, or a crop_size of ${resized.width} × ${resized.height}, since only newer versions of this class crop, got true with ${width} × ${height}`,
  );
}

/**
 * The resize of ConvNext, also used by ResNet. Below 384 the shortest edge becomes edge / crop_pct and the center is cropped. From 384
 * on the image is stretched to a square. (ConvNextImageProcessor.resize in transformers)
 */
function cropPctGeometry(resize: NonNullable<ImageRecipe["resize"]>, cropPct: number | undefined) {
  if (resize.kind !== "shortest-edge") throw new WrongField("size", "expected shortest_edge, which crop_pct needs");
  const { edge } = resize;
  const square = { width: edge, height: edge };
  if (edge >= 384) return { ...square, resize: { kind: "exact" as const, ...square }, crop: false };
  const larger = Math.trunc(edge / (cropPct ?? 224 / 256));
  return { ...square, resize: { kind: "shortest-edge" as const, edge: larger }, crop: true };
}

function sizeOf(size: z.infer<typeof SizeSchema>, square: boolean): NonNullable<ImageRecipe["resize"]> {
  if (typeof size === "number")
    return square ? { kind: "exact", width: size, height: size } : { kind: "shortest-edge", edge: size };
  if (Array.isArray(size)) return { kind: "exact", height: size[0], width: size[1] };
  return "shortest_edge" in size ? { kind: "shortest-edge", edge: size.shortest_edge } : { kind: "exact", ...size };
}

function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new WrongField(field, "expected a value, got nothing");
  return value;
}

class WrongField extends Error {
  constructor(field: string, problem: string) {
    super(`${field}: ${problem}`);
  }
}
