import type { Config } from "../config.ts";
import { type NotReady, openHealth } from "../health/health.ts";

/** Opens the health port if the settings have one. It is closed last, so that it answers while the process stops. */
export async function openHealthPort(
  { healthHost, healthPort }: Config,
  open: AsyncDisposableStack,
  ready: () => true | NotReady,
): Promise<void> {
  if (healthPort === undefined) return;
  const health = await openHealth({ host: healthHost, port: healthPort, ready });
  open.defer(() => health.close());
}
