/** The supported resampling filters. */
export const FILTERS = ["nearest", "lanczos", "bilinear", "bicubic"] as const;

type Triple = [number, number, number];
/** The defaults of an image processor of transformers. Undefined: its versions differ, so the file must have the value. */
export type Processor = {
  /** Whether a number in `size` means a square; otherwise it means the shortest edge. */
  square: boolean;
  filter: (typeof FILTERS)[number];
  /** Whether images are center-cropped. */
  crop: boolean | undefined;
  /** A number, or height and width. */
  size: number | [number, number] | undefined;
  /** Whether older versions ignore `do_center_crop`, while newer ones crop. */
  mayIgnoreCrop?: true;
  cropSize?: number;
  mean?: Triple;
  std?: Triple;
  /** Whether it resizes by `crop_pct`. */
  cropPct?: true;
};

const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } satisfies Partial<Processor>;
const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} satisfies Partial<Processor>;
const MOBILE_NET = { square: false, filter: "bilinear", crop: true, size: 256, cropSize: 224, ...HALF } as const;

/**
 * The supported processors, by the name before `ImageProcessor`, `ImageProcessorFast` or `FeatureExtractor`. Others (Levit,
 * PoolFormer, EfficientNet, MobileViT, …) have additional steps.
 */
export const PROCESSORS: Readonly<Record<string, Processor>> = {
  ViT: { square: true, filter: "bilinear", crop: false, mayIgnoreCrop: true, size: 224, ...HALF },
  DeiT: { square: true, filter: "bicubic", crop: true, size: 256, cropSize: 224, ...HALF },
  Beit: { square: true, filter: "bicubic", crop: undefined, size: undefined, cropSize: 224, ...HALF },
  Siglip: { square: false, filter: "bicubic", crop: false, mayIgnoreCrop: true, size: [224, 224], ...HALF },
  Bit: { square: false, filter: "bicubic", crop: true, size: 224, cropSize: 224, ...CLIP },
  CLIP: { square: false, filter: "bicubic", crop: true, size: 224, cropSize: 224, ...CLIP },
  MobileNetV1: MOBILE_NET,
  MobileNetV2: MOBILE_NET,
  ConvNext: {
    square: false,
    filter: "bilinear",
    crop: false,
    mayIgnoreCrop: true,
    size: 384,
    ...HALF,
    cropPct: true,
  },
};

/** The processors of files that name no class: the `model_type` values of config.json, by processor. */
const BY_MODEL: Readonly<Record<string, readonly string[]>> = {
  ViT: ["vit", "vit_msn", "swin", "swinv2", "swiftformer", "ijepa", "dinat"],
  DeiT: ["deit"],
  Beit: ["beit", "data2vec-vision"],
  Siglip: ["siglip"],
  Bit: ["bit", "dinov2", "focalnet", "hiera"],
  CLIP: ["clip", "metaclip_2"],
  MobileNetV1: ["mobilenet_v1"],
  MobileNetV2: ["mobilenet_v2"],
  ConvNext: ["convnext", "convnextv2", "cvt", "regnet", "resnet"],
  // Known to transformers, not supported here.
  Levit: ["levit"],
  PoolFormer: ["poolformer"],
  EfficientNet: ["efficientnet"],
  MobileViT: ["mobilevit", "mobilevitv2"],
  Perceiver: ["perceiver"],
  Pvt: ["pvt", "pvt_v2"],
  Segformer: ["segformer"],
  Donut: ["donut-swin"],
  ImageGPT: ["imagegpt"],
  TextNet: ["textnet"],
  TimmWrapper: ["timm_wrapper"],
  PPLCNet: ["pp_lcnet"],
  Siglip2: ["siglip2"],
};

/** @returns the name of the processor that transformers uses for a model type; undefined if it has none */
export function processorNameOf(modelType: unknown): string | undefined {
  return Object.keys(BY_MODEL).find((name) => BY_MODEL[name]!.some((type) => type === modelType));
}
