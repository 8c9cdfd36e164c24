/** A process that pulls one model and reports its progress to its parent. */
import { LabelmillError } from "../../../src/errors.ts";
import { type ModelSource, type PullOptions, pullModel } from "../../../src/models/hub/pull.ts";

export type PullOrder = { source: ModelSource; options: Pick<PullOptions, "modelsDir" | "endpoint" | "limits"> };

/** The last message is `pulled` or `failed`. */
export type PullMessage =
  | { is: "progress"; doneBytes: number; totalBytes: number }
  | { is: "pulled"; dir: string }
  | { is: "failed"; code: string; message: string };

const { source, options } = JSON.parse(process.argv[2]!) as PullOrder;
const report = (message: PullMessage) => process.send!(message);

try {
  const { dir } = await pullModel(source, {
    ...options,
    onProgress: ({ doneBytes, totalBytes }) => report({ is: "progress", doneBytes, totalBytes }),
  });
  report({ is: "pulled", dir });
} catch (error) {
  const code = error instanceof LabelmillError ? error.code : "?";
  report({ is: "failed", code, message: String(error) });
}
process.disconnect();
