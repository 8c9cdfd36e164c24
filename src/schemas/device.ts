import { z } from "zod";

/** Where models are told to run. `cuda` is the first GPU. */
export const DeviceSettingSchema = z
  .string()
  .regex(/^(?:auto|cpu|cuda(?::(?:all|0|[1-9]\d?))?)$/, "auto, cpu, cuda, cuda:N or cuda:all");
