import type { DeviceKind } from "../../schemas/device.ts";

/** Every kind of device except the CPU. */
export type AcceleratorKind = Exclude<DeviceKind, "cpu">;

/** Where a session runs: the CPU, or an accelerator by its index, such as `cuda:0`. */
export type Device = "cpu" | `${AcceleratorKind}:${number}`;

export function kindOf(device: Device): DeviceKind {
  return device.split(":", 1)[0] as DeviceKind;
}

/** The index of an accelerator among those of its kind; 0 for the CPU. */
export function indexOf(device: Device): number {
  return Number(device.split(":")[1] ?? 0);
}
