/** A process that pulls a model to a disk that fills up meanwhile, makes room, and pulls again. Prints a FullDiskResult as JSON. */
import { readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabelmillError } from "../../../src/errors.ts";
import { findPulled, type ModelSource, pullModel } from "../../../src/models/hub/pull.ts";

/**
 * `fillAtBytes`: the progress of the first pull at which the disk is filled; if omitted, it is filled before the pull.
 * `leaveBytes`: the space that stays free.
 */
export type FullDiskOrder = {
  source: ModelSource;
  modelsDir: string;
  endpoint: string;
  fillAtBytes?: number;
  leaveBytes: number;
};
export type FullDiskResult = {
  error: { code: string; retryable: boolean; message: string };
  found: boolean;
  left: string[];
  /** Progress of the second pull before its first request for bytes. */
  doneBytes: number;
  pulled: boolean;
};

const { source, modelsDir, endpoint, fillAtBytes, leaveBytes } = JSON.parse(process.argv[2]!) as FullDiskOrder;
const filler = join(modelsDir, "filler");

let filled = fillAtBytes === undefined;
if (filled) fill();
const failed: unknown = await pullModel(source, {
  modelsDir,
  endpoint,
  onProgress: ({ doneBytes }) => {
    if (filled || doneBytes < fillAtBytes!) return;
    filled = true;
    fill();
  },
}).catch((error: unknown) => error);
const { code, retryable, message } =
  failed instanceof LabelmillError ? failed : { code: "none", retryable: false, message: String(failed) };
const left = readdirSync(join(modelsDir, source.repo.replace("/", "--")));
const found = (await findPulled(source, modelsDir)) !== undefined;
rmSync(filler);
const done: number[] = [];
await pullModel(source, { modelsDir, endpoint, onProgress: ({ doneBytes }) => done.push(doneBytes) });
const result: FullDiskResult = {
  error: { code, retryable, message },
  found,
  left,
  doneBytes: done[0]!,
  pulled: (await findPulled(source, modelsDir)) !== undefined,
};
process.stdout.write(JSON.stringify(result));

function fill(): void {
  const { bavail, bsize } = statfsSync(modelsDir);
  writeFileSync(filler, Buffer.alloc(bavail * bsize - leaveBytes));
}
