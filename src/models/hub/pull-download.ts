import pLimit from "p-limit";
import { LabelmillError } from "../../errors.ts";
import { TransientError } from "../../retry/transient-error.ts";
import type { HubRepo } from "./hub.ts";
import type { PartialFile } from "./pull-partial.ts";

type Download = {
  repo: HubRepo;
  commit: string;
  partials: readonly PartialFile[];
  /** Concurrent requests, over all files. */
  atOnce: number;
  /** Called after each received piece. */
  onPiece: (file: string) => void;
  /** Aborted with the first failure. The requests of `repo` use its signal. */
  stop: AbortController;
};

/**
 * Fills the partial files. The first range of a large file is requested first. If its answer is a range (206), the others
 * follow concurrently. If the server sends the whole file instead, this answer is read to its end and fills all ranges.
 *
 * Every request names the commit, so that the ranges belong to the same file. The whole file is hashed at the end, so If-Range
 * is not needed.
 *
 * @throws LabelmillError MODEL_HASH (another size than announced), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED; errors of
 * the file system, unchanged
 */
export async function download({ repo, commit, partials, atOnce, onPiece, stop }: Download): Promise<void> {
  const limit = pLimit(atOnce);
  const fetchRange = async (partial: PartialFile, range: number, onRange: () => void): Promise<void> => {
    if (stop.signal.aborted || partial.isFull(range)) return;
    const { path } = partial.file;
    await repo.get(
      path,
      commit,
      () => partial.rest(range),
      (response, alive) =>
        receive(partial, range, response, onRange, () => {
          alive();
          onPiece(path);
        }),
      () => partial.doneBytes,
    );
  };
  const fetchFile = async (partial: PartialFile): Promise<void> => {
    const ranges = Promise.withResolvers<void>();
    const running: Promise<void>[] = [];
    for (const range of partial.missing()) {
      const task = limit(fetchRange, partial, range, ranges.resolve).catch((error: unknown) => stop.abort(error));
      running.push(task);
      // One request at a time until an answer is a range.
      await Promise.race([task, ranges.promise]);
    }
    await Promise.all(running);
  };
  await Promise.all(partials.map(fetchFile));
  if (stop.signal.aborted) throw stop.signal.reason;
}

async function receive(
  partial: PartialFile,
  range: number,
  response: Response,
  onRange: () => void,
  onPiece: () => void,
): Promise<void> {
  const { path, size } = partial.file;
  let at = startOf(response, path, size);
  if (response.status === 206) onRange();
  try {
    for await (const piece of response.body ?? []) {
      if (at + piece.length > size) throw differs(path, size, "more");
      await partial.write(at, piece);
      at += piece.length;
      onPiece();
    }
  } catch (error) {
    // The missing bytes belong to other ranges, which request them themselves.
    if (partial.isFull(range) && (error instanceof TypeError || error instanceof TransientError)) return;
    throw error;
  }
  if (!partial.isFull(range)) throw new TransientError("an answer that ended too early");
}

/** The position in the file of an answer's first byte. */
function startOf({ status, headers }: Response, path: string, size: number): number {
  if (status === 416) throw differs(path, size, "fewer");
  if (status === 200) {
    const length = headers.get("content-length");
    if (length !== null && Number(length) !== size) throw differs(path, size, length);
    return 0;
  }
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  if (from === undefined) throw new TransientError("a range without its position");
  if (total !== "*" && Number(total) !== size) throw differs(path, size, total!);
  return Number(from);
}

function differs(path: string, size: number, got: string): LabelmillError {
  const message = `${path}: expected ${size} bytes, as the hub announced, got ${got}: the file is not used`;
  return new LabelmillError("MODEL_HASH", message);
}
