import { join } from "node:path";
import type { Config } from "../config.ts";
import { chooseDevices, type DeviceChoice } from "../inference/devices/devices.ts";
import { BUILT_IN, BUILT_IN_DIR } from "../models/built-in.ts";

/** A small model with convolutions, all of whose nodes run on a GPU. If a session of it runs, the GPU works. */
export const PROOF_MODEL_DIR = join(BUILT_IN_DIR, BUILT_IN.images);

/** The devices for a worker in this process, as --device requires. @throws LabelmillError DEVICE_UNAVAILABLE */
export function localDevices({ device }: Config): Promise<DeviceChoice> {
  return chooseDevices(device, PROOF_MODEL_DIR);
}
