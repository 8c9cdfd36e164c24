/** A separate process that opens and runs a session of a model on one device after the other, and prints a line for each. */
import { messageOf } from "../../errors.ts";
import type { Device } from "../devices/device.ts";
import { loadModel } from "../model/model.ts";
import { SessionHandle } from "./session-handle.ts";
import type { ProbeRequest, ProbeResult } from "./session-probe.ts";
import { setupOf } from "./session-setup.ts";

const request = JSON.parse(process.argv[2]!) as ProbeRequest;

async function openSession(device: Device): Promise<SessionHandle> {
  const { modelDir, dtype, strict } = request;
  const model = await loadModel(modelDir, { dtype });
  return new SessionHandle(setupOf(model, { device, intraOpThreads: 1, warmUp: [], strict }));
}

async function probe(device: Device): Promise<ProbeResult> {
  try {
    const session = await openSession(device);
    const result = await session.ready.then(
      (): ProbeResult => ({ runs: true }),
      (error: unknown): ProbeResult => ({ runs: false, reason: messageOf(error) }),
    );
    print(result);
    await session.close();
    return result;
  } catch (error) {
    return print({ runs: false, reason: messageOf(error) });
  }
}

function print(result: ProbeResult): ProbeResult {
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return result;
}

for (const device of request.devices) if (!(await probe(device)).runs) break;
