/** A process of its own that makes a session of a model on one device after the other, runs it, and prints a line for each. */
import { messageOf } from "../../errors.ts";
import { loadModel } from "../model/model.ts";
import type { Device } from "./model-session.ts";
import { SessionHandle } from "./session-handle.ts";
import type { ProbeRequest, ProbeResult } from "./session-probe.ts";
import { setupOf } from "./session-setup.ts";

const request = JSON.parse(process.argv[2]!) as ProbeRequest;

async function openSession(device: Device): Promise<SessionHandle> {
  const { modelDir, dtype, strict } = request;
  const model = await loadModel(modelDir, { dtype });
  return new SessionHandle(setupOf(model, { device, intraOpThreads: 1, warmUp: [], strict }));
}

async function probeSession(device: Device): Promise<ProbeResult> {
  try {
    const session = await openSession(device);
    const tried = await session.ready.then(
      (): ProbeResult => ({ runs: true }),
      (error: unknown): ProbeResult => ({ runs: false, reason: messageOf(error) }),
    );
    tell(tried);
    await session.close();
    return tried;
  } catch (error) {
    return tell({ runs: false, reason: messageOf(error) });
  }
}

function tell(tried: ProbeResult): ProbeResult {
  process.stdout.write(`${JSON.stringify(tried)}\n`);
  return tried;
}

for (const device of request.devices) if (!(await probeSession(device)).runs) break;
