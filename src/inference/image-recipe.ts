import { z } from "zod";
import { LabelmillError } from "../errors.ts";

/** How the file is called in errors. */
const FILE = "preprocessor_config.json";

const FILTERS = ["nearest", "lanczos", "bilinear", "bicubic"] as const;
const SideSchema = z.int().min(1).max(4096);
const TripleSchema = z.tuple([z.number(), z.number(), z.number()]);

/** From a decoded picture to what a model takes: resize, centre crop, then `(value × rescale − mean) / std` per channel. */
export const ImageRecipeSchema = z.strictObject({
  /** Pixels of the result. */
  width: SideSchema,
  height: SideSchema,
  /** Null: the picture keeps its size. `shortest-edge` keeps the aspect; the long edge is truncated to an integer. */
  resize: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("shortest-edge"), edge: SideSchema }),
      z.strictObject({ kind: z.literal("exact"), width: SideSchema, height: SideSchema }),
    ])
    .nullable(),
  /** Whether `width` × `height` is cut from the middle. False: the picture must have that size by then. */
  crop: z.boolean(),
  filter: z.enum(FILTERS),
  rescale: z.number().positive(),
  /** Red, green, blue, on the scale that `rescale` leads to. */
  mean: TripleSchema,
  std: TripleSchema.refine((std) => std.every((value) => value !== 0)),
});
export type ImageRecipe = z.infer<typeof ImageRecipeSchema>;

/** The numbers that Pillow gives its filters, and so `resample`; 4 (box) and 5 (Hamming) have no equal here. */
const FILTER_BY_NUMBER: Record<number, ImageRecipe["filter"]> = {
  0: "nearest",
  1: "lanczos",
  2: "bilinear",
  3: "bicubic",
};

/**
 * What the processors of transformers do with what their file leaves out: whether a bare number as `size` is a square
 * or the shortest edge, and the filter. Others (Levit, PoolFormer, EfficientNet, MobileViT, …) have steps of their own.
 */
const PROCESSORS: Record<
  string,
  { number: "square" | "shortest-edge"; filter: ImageRecipe["filter"]; cropPct?: true }
> = {
  ViT: { number: "square", filter: "bilinear" },
  DeiT: { number: "square", filter: "bicubic" },
  Beit: { number: "square", filter: "bicubic" },
  Siglip: { number: "square", filter: "bicubic" },
  Bit: { number: "shortest-edge", filter: "bicubic" },
  CLIP: { number: "shortest-edge", filter: "bicubic" },
  MobileNetV1: { number: "shortest-edge", filter: "bilinear" },
  MobileNetV2: { number: "shortest-edge", filter: "bilinear" },
  ConvNext: { number: "shortest-edge", filter: "bilinear", cropPct: true },
};

const SizeSchema = z.union([
  SideSchema,
  z.strictObject({ shortest_edge: SideSchema }),
  z.strictObject({ height: SideSchema, width: SideSchema }),
]);

const ConfigSchema = z.object({
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  size: SizeSchema.optional(),
  crop_size: SizeSchema.optional(),
  crop_pct: z.number().gt(0).max(1).nullish(),
  resample: z.int().optional(),
  do_resize: z.boolean().default(true),
  do_center_crop: z.boolean().nullish(),
  do_rescale: z.boolean().default(true),
  rescale_factor: z
    .number()
    .positive()
    .default(1 / 255),
  do_normalize: z.boolean().default(true),
  image_mean: TripleSchema.optional(),
  image_std: TripleSchema.optional(),
  // Steps that are not built: only their absence can be honoured.
  do_pad: z.literal(false).nullish(),
  do_flip_channel_order: z.literal(false).nullish(),
  rescale_offset: z.literal(false).nullish(),
});
type Config = z.infer<typeof ConfigSchema>;

/**
 * The recipe that a Hugging Face `preprocessor_config.json` describes, as the image processors of transformers read it.
 * Throws MODEL_INVALID, naming the field, for what is missing or cannot be done here.
 */
export function parseImageRecipe(json: unknown): ImageRecipe {
  const parsed = ConfigSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw invalid(issue.path.join(".") || "the whole", `${issue.message}`);
  }
  const config = parsed.data;
  const processor = processorOf(config);
  const std: ImageRecipe["std"] = config.do_normalize ? required(config.image_std, "image_std") : [1, 1, 1];
  if (std.includes(0)) throw invalid("image_std", `expected no 0 in it, got ${JSON.stringify(std)}`);
  return {
    ...geometryOf(config, processor),
    filter: filterOf(config, processor),
    rescale: config.do_rescale ? config.rescale_factor : 1,
    mean: config.do_normalize ? required(config.image_mean, "image_mean") : [0, 0, 0],
    std,
  };
}

type Processor = (typeof PROCESSORS)[string];

function processorOf(config: Config): Processor {
  const type = config.image_processor_type ?? config.feature_extractor_type;
  // Files without a type are ViT's or ConvNext's oldest; only the latter know crop_pct.
  if (type === undefined) return config.crop_pct ? PROCESSORS.ConvNext! : PROCESSORS.ViT!;
  const name = type.replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, "");
  if (Object.hasOwn(PROCESSORS, name)) return PROCESSORS[name]!;
  const known = Object.keys(PROCESSORS).join(", ");
  throw invalid("image_processor_type", `expected the processor of one of ${known}, got ${JSON.stringify(type)}`);
}

function filterOf(config: Config, processor: Processor): ImageRecipe["filter"] {
  if (config.resample === undefined) return processor.filter;
  const filter = FILTER_BY_NUMBER[config.resample];
  if (filter) return filter;
  throw invalid("resample", `expected 0 (nearest), 1 (lanczos), 2 (bilinear) or 3 (bicubic), got ${config.resample}`);
}

function geometryOf(config: Config, processor: Processor): Pick<ImageRecipe, "width" | "height" | "resize" | "crop"> {
  const resize = config.do_resize ? sizeOf(required(config.size, "size"), processor.number) : null;
  if (resize && processor.cropPct) return cropPctGeometry(resize, config.crop_pct);
  if (!(config.do_center_crop ?? config.crop_size !== undefined)) {
    const whole = resize ?? sizeOf(required(config.size, "size"), "square");
    if (whole.kind === "exact") return { width: whole.width, height: whole.height, resize, crop: false };
    throw invalid("do_center_crop", "expected true, or a size of height and width: the model needs one fixed size");
  }
  // A crop is a square whichever way its size is written.
  const crop = sizeOf(required(config.crop_size, "crop_size"), "square");
  const { width, height } = crop.kind === "exact" ? crop : { width: crop.edge, height: crop.edge };
  const least = resize?.kind === "exact" ? resize : { width: resize?.edge ?? width, height: resize?.edge ?? height };
  if (width > least.width || height > least.height) {
    throw invalid(
      "crop_size",
      `expected at most the resized picture: the crop, ${width} × ${height}, would need padding`,
    );
  }
  return { width, height, resize, crop: true };
}

/**
 * ConvNext's way, ResNet's too: below 384 the shortest edge becomes edge / crop_pct and the middle is cut out; from 384
 * on the picture is stretched to the square. (ConvNextImageProcessor.resize in transformers)
 */
function cropPctGeometry(resize: NonNullable<ImageRecipe["resize"]>, cropPct: number | null | undefined) {
  if (resize.kind !== "shortest-edge") throw invalid("size", "expected shortest_edge, as crop_pct needs it");
  const { edge } = resize;
  const square = { width: edge, height: edge };
  if (edge >= 384) return { ...square, resize: { kind: "exact" as const, ...square }, crop: false };
  const larger = Math.trunc(edge / (cropPct ?? 224 / 256));
  return { ...square, resize: { kind: "shortest-edge" as const, edge: larger }, crop: true };
}

function sizeOf(size: z.infer<typeof SizeSchema>, bare: Processor["number"]): NonNullable<ImageRecipe["resize"]> {
  if (typeof size !== "number") {
    return "shortest_edge" in size ? { kind: "shortest-edge", edge: size.shortest_edge } : { kind: "exact", ...size };
  }
  return bare === "square" ? { kind: "exact", width: size, height: size } : { kind: "shortest-edge", edge: size };
}

function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw invalid(field, "expected it, got nothing");
  return value;
}

function invalid(field: string, problem: string): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `${FILE}, ${field}: ${problem}`);
}
