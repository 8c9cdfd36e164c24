import { z } from "zod";

/**
 * Every kind of device. A table `Record<DeviceKind, …>` makes a new kind a compile error wherever it needs a decision.
 */
export const DEVICE_KINDS = ["cpu", "cuda"] as const;
export type DeviceKind = (typeof DEVICE_KINDS)[number];

/** The `--device` setting. `auto` prefers a GPU; `cuda` is the first GPU. */
export const DeviceSettingSchema = z
  .string()
  .regex(/^(?:auto|cpu|cuda(?::(?:all|0|[1-9]\d?))?)$/, "auto, cpu, cuda, cuda:N or cuda:all");
