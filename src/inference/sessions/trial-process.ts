/** A process of its own that makes a session of a model on one device after the other, runs it, and prints a line for each. */
import { messageOf } from "../../errors.ts";
import { loadModel } from "../model/model.ts";
import type { Device } from "./model-session.ts";
import { SessionHandle } from "./session-handle.ts";
import { setupOf } from "./session-setup.ts";
import type { TrialRequest, Tried } from "./trial.ts";

const request = JSON.parse(process.argv[2]!) as TrialRequest;

async function openSession(device: Device): Promise<SessionHandle> {
  const { modelDir, dtype, strict } = request;
  const model = await loadModel(modelDir, { dtype });
  return new SessionHandle(setupOf(model, { device, intraOpThreads: 1, warmUp: [], strict }));
}

async function trySession(device: Device): Promise<Tried> {
  try {
    const session = await openSession(device);
    const tried = await session.ready.then(
      (): Tried => ({ runs: true }),
      (error: unknown): Tried => ({ runs: false, reason: messageOf(error) }),
    );
    tell(tried);
    await session.close();
    return tried;
  } catch (error) {
    return tell({ runs: false, reason: messageOf(error) });
  }
}

function tell(tried: Tried): Tried {
  process.stdout.write(`${JSON.stringify(tried)}\n`);
  return tried;
}

for (const device of request.devices) if (!(await trySession(device)).runs) break;
