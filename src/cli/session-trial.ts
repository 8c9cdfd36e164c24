/** A process of its own that loads a model folder, makes a session of it on one device, runs it, and prints what came of it. */
import "../config.ts";
import { messageOf } from "../errors.ts";
import { loadModel } from "../inference/model.ts";
import { SessionHandle } from "../inference/session-handle.ts";
import type { Device } from "../inference/session-thread.ts";

export type Tried = { runs: true } | { runs: false; reason: string };

const [dir = "", device = "cpu"] = process.argv.slice(2);

async function openSession(): Promise<SessionHandle> {
  const { modelFile, recipe, padId, labels } = await loadModel(dir, "");
  return new SessionHandle({
    modelFile,
    input: recipe ? { kind: "image", recipe } : { kind: "text", padId },
    labels: labels.length,
    device: device as Device,
    intraOpThreads: 1,
  });
}

function tell(tried: Tried): void {
  process.stdout.write(JSON.stringify(tried));
}

try {
  const session = await openSession();
  await session.ready.then(
    () => tell({ runs: true }),
    (error: unknown) => tell({ runs: false, reason: messageOf(error) }),
  );
  await session.close();
} catch (error) {
  tell({ runs: false, reason: messageOf(error) });
}
