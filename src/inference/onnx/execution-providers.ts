import type { InferenceSession } from "onnxruntime-node";
import type { DeviceKind } from "../../schemas/device.ts";

/** How onnxruntime runs models on one kind of device. */
export type ExecutionProvider = {
  /** Its name in onnxruntime's profiles. */
  name: string;
  /** The session option that selects it. @param index of the device among those of its kind */
  config: (index: number) => InferenceSession.ExecutionProviderConfig;
  /** Whether onnxruntime silently runs nodes on the CPU for which the provider has no kernel. */
  fallsBackToCpu: boolean;
};

export const EXECUTION_PROVIDERS: Record<DeviceKind, ExecutionProvider> = {
  cpu: { name: "CPUExecutionProvider", config: () => "cpu", fallsBackToCpu: false },
  cuda: { name: "CUDAExecutionProvider", config: (deviceId) => ({ name: "cuda", deviceId }), fallsBackToCpu: true },
};
