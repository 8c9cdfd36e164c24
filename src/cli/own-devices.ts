import { join } from "node:path";
import type { Config } from "../config.ts";
import { chooseDevices, type DeviceChoice } from "../inference/devices/devices.ts";
import { BUILT_IN, BUILT_IN_DIR } from "../models/built-in.ts";

/** A small model with convolutions, whose nodes need no CPU: a session of it proves a GPU. */
export const PROOF_MODEL_DIR = join(BUILT_IN_DIR, BUILT_IN.images);

/** Where a worker of this process runs its models, as --device says. @throws LabelmillError DEVICE_UNAVAILABLE */
export function ownDevices({ device }: Config): Promise<DeviceChoice> {
  return chooseDevices(device, PROOF_MODEL_DIR);
}
