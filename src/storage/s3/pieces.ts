import type { Readable } from "node:stream";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { Tries } from "../../retry/retry.ts";
import { s3Status } from "./error.ts";

/** Bytes of an object or file, from `start` (included) to `end` (excluded). Default of `end`: the end of the object. */
export type ByteRange = { start: number; end?: number };

/** The answer to a GET. `left`: the length of the body; undefined if the server does not send it. */
export type S3Answer = { body: Readable; left: number | undefined; etag: string; ranged: boolean };

export type S3Reading = {
  what: string;
  /** Requests the object's bytes from `offset` on, if it has this ETag. */
  get(offset: number, etag: string | undefined): Promise<S3Answer>;
  tries: Tries;
};

/**
 * One object, or a range of it, in pieces. After a broken connection, the next request continues at the same byte.
 * @throws LabelmillError INPUT_CHANGED if the object's ETag changes, or differs from `expected`
 */
export async function* readPieces(
  { what, get, tries }: S3Reading,
  expected?: string,
  { start, end = Number.POSITIVE_INFINITY }: ByteRange = { start: 0 },
): AsyncGenerator<Buffer> {
  let etag = expected;
  let offset = start;
  for (;;) {
    try {
      const answer = await get(offset, etag);
      // Reading reports its errors. One that occurs after reading has ended must not end the process.
      const body = answer.body.on("error", () => {});
      try {
        etag ??= answer.etag;
        if (answer.etag !== etag) throw changed(what);
        let { left } = answer;
        // A server without ranges sends the whole object again.
        let skip = answer.ranged ? 0 : offset;
        for await (const piece of received(body)) {
          if (left !== undefined) left -= piece.length;
          const rest = piece.subarray(skip);
          skip -= piece.length - rest.length;
          if (rest.length === 0) continue;
          const fresh = rest.subarray(0, end - offset);
          tries.reset();
          offset += fresh.length;
          yield fresh;
          if (offset === end) return;
        }
        if (left !== undefined && left !== 0) throw connectionBroke();
        return;
      } finally {
        body.destroy();
      }
    } catch (error) {
      const status = s3Status(error);
      if (status === 412 || (status === 416 && offset > 0)) throw changed(what);
      await tries.next(error);
    }
  }
}

/** Reports every error of a body as a broken connection, because Node has many errors for one. */
async function* received(body: Readable): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]();
  for (;;) {
    const next = await pieces.next().catch((error) => {
      throw connectionBroke(error);
    });
    if (next.done) return;
    yield next.value;
  }
}

function connectionBroke(cause?: unknown): Error {
  const why = cause === undefined ? "" : `: ${messageOf(cause)}`;
  return Object.assign(new Error(`the connection broke within the body${why}`, { cause }), { code: "ECONNRESET" });
}

function changed(what: string): LabelmillError {
  return new LabelmillError("INPUT_CHANGED", `${what} was replaced while it was read: run the same command again`);
}
