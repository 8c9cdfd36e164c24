/** A process that pulls one model and tells its parent how far it is. */
import { LabelmillError } from "../../../src/errors.ts";
import { type ModelSource, type PullOptions, pullModel } from "../../../src/models/hub/pull.ts";

export type PullOrder = { source: ModelSource; options: Pick<PullOptions, "modelsDir" | "endpoint" | "limits"> };

/** The last of them is `pulled` or `failed`. */
export type PullNews =
  | { is: "progress"; doneBytes: number; totalBytes: number }
  | { is: "pulled"; dir: string }
  | { is: "failed"; code: string; message: string };

const { source, options } = JSON.parse(process.argv[2]!) as PullOrder;
const tell = (news: PullNews) => process.send!(news);

try {
  const { dir } = await pullModel(source, {
    ...options,
    onProgress: ({ doneBytes, totalBytes }) => tell({ is: "progress", doneBytes, totalBytes }),
  });
  tell({ is: "pulled", dir });
} catch (error) {
  const code = error instanceof LabelmillError ? error.code : "?";
  tell({ is: "failed", code, message: String(error) });
}
process.disconnect();
