import pLimit from "p-limit";
import { LabelmillError } from "../../errors.ts";
import { TransientError } from "../../retry/transient-error.ts";
import type { HubRepo } from "./hub.ts";
import type { PartialFile } from "./pull-partial.ts";

type Download = {
  repo: HubRepo;
  commit: string;
  partials: readonly PartialFile[];
  /** Requests at once, over all files. */
  atOnce: number;
  /** Called after each piece that came. */
  onPiece: (file: string) => void;
  /** Aborted with the first failure; the requests of `repo` have its signal. */
  stop: AbortController;
};

/**
 * Fills the partial files. A large file's first range goes ahead: only where its answer is a range (206) do the others
 * follow, several at once. A server that sends the whole file instead is read to the end, and fills them all.
 *
 * Every request names the commit, so that ranges of different answers belong together; what they make up is hashed at the
 * end, which is why nothing here depends on If-Range.
 *
 * @throws LabelmillError MODEL_HASH (another size than announced), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED; errors of
 * the file system as they are
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
      // Until there is an answer that is a range, one after the other.
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
    // The rest of what came would have been for other ranges, which ask for it themselves.
    if (partial.isFull(range) && (error instanceof TypeError || error instanceof TransientError)) return;
    throw error;
  }
  if (!partial.isFull(range)) throw new TransientError("an answer that ended too early");
}

/** The place in the file of an answer's first byte. */
function startOf({ status, headers }: Response, path: string, size: number): number {
  if (status === 416) throw differs(path, size, "fewer");
  if (status === 200) {
    const length = headers.get("content-length");
    if (length !== null && Number(length) !== size) throw differs(path, size, length);
    return 0;
  }
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  if (from === undefined) throw new TransientError("a range that does not say where it begins");
  if (total !== "*" && Number(total) !== size) throw differs(path, size, total!);
  return Number(from);
}

function differs(path: string, size: number, got: string): LabelmillError {
  const message = `${path}: expected ${size} bytes, as the hub announced, got ${got}: nothing of it is used`;
  return new LabelmillError("MODEL_HASH", message);
}
