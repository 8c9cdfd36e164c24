/** The resampling filters that are known. */
export const FILTERS = ["nearest", "lanczos", "bilinear", "bicubic"] as const;

type Triple = [number, number, number];
/** What an image processor of transformers does with what its file leaves out. Undefined: its versions differ, so the file must say it. */
export type Processor = {
  /** Whether a number as `size` is a square; else it is the shortest edge. */
  square: boolean;
  filter: (typeof FILTERS)[number];
  /** Whether the middle is cut out. */
  crop: boolean | undefined;
  /** A number, or height and width. */
  size: number | [number, number] | undefined;
  /** Older versions pass over `do_center_crop` where a file says it, newer ones crop. */
  mayPassOverCrop?: true;
  cropSize?: number;
  mean?: Triple;
  std?: Triple;
  /** It resizes by `crop_pct`, in a way of its own. */
  cropPct?: true;
};

const HALF = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } satisfies Partial<Processor>;
const CLIP = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} satisfies Partial<Processor>;
const MOBILE_NET = { square: false, filter: "bilinear", crop: true, size: 256, cropSize: 224, ...HALF } as const;

/**
 * By the name before `ImageProcessor`, `ImageProcessorFast` or `FeatureExtractor`. Others (Levit, PoolFormer, EfficientNet,
 * MobileViT, …) have steps of their own.
 */
export const PROCESSORS: Readonly<Record<string, Processor>> = {
  ViT: { square: true, filter: "bilinear", crop: false, mayPassOverCrop: true, size: 224, ...HALF },
  DeiT: { square: true, filter: "bicubic", crop: true, size: 256, cropSize: 224, ...HALF },
  Beit: { square: true, filter: "bicubic", crop: undefined, size: undefined, cropSize: 224, ...HALF },
  Siglip: { square: false, filter: "bicubic", crop: false, mayPassOverCrop: true, size: [224, 224], ...HALF },
  Bit: { square: false, filter: "bicubic", crop: true, size: 224, cropSize: 224, ...CLIP },
  CLIP: { square: false, filter: "bicubic", crop: true, size: 224, cropSize: 224, ...CLIP },
  MobileNetV1: MOBILE_NET,
  MobileNetV2: MOBILE_NET,
  ConvNext: {
    square: false,
    filter: "bilinear",
    crop: false,
    mayPassOverCrop: true,
    size: 384,
    ...HALF,
    cropPct: true,
  },
};

/** The processors of files without a type, by the `model_type` of config.json. */
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
  // Known to transformers, not built here.
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

/** @returns the name of the processor that transformers gives a model of this type; undefined for a type that it gives none */
export function processorNameOf(modelType: unknown): string | undefined {
  return Object.keys(BY_MODEL).find((name) => BY_MODEL[name]!.some((type) => type === modelType));
}
