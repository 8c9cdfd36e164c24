import type { Readable } from "node:stream";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { Tries } from "../../retry/retry.ts";
import { s3Status } from "./error.ts";

/** Bytes of an object or file, from `start` up to `end`, excluded; undefined: to its end. */
export type ByteRange = { start: number; end?: number };

/** What a server answers to a GET. `left` is the length of the body, undefined where the server does not say. */
export type S3Answer = { body: Readable; left: number | undefined; etag: string; ranged: boolean };

export type S3Reading = {
  what: string;
  /** The object's bytes from `offset` on, if it has that ETag. */
  get(offset: number, etag: string | undefined): Promise<S3Answer>;
  tries: Tries;
};

/**
 * One object, or a range of it, in pieces, whatever breaks on the way: a connection that breaks is taken up where it broke.
 * @throws LabelmillError INPUT_CHANGED if another object stands there than at first, or than `expected`
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
      // Its errors come by the reading; one that comes when nobody reads any more must not end the process.
      const body = answer.body.on("error", () => {});
      try {
        etag ??= answer.etag;
        if (answer.etag !== etag) throw changed(what);
        let { left } = answer;
        // A server that knows no ranges sends all of it again.
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
        if (left !== undefined && left !== 0) throw brokenOff();
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

/** A body whose connection breaks says so in many ways, all of which are the same to us. */
async function* received(body: Readable): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]();
  for (;;) {
    const next = await pieces.next().catch((error) => {
      throw brokenOff(error);
    });
    if (next.done) return;
    yield next.value;
  }
}

function brokenOff(cause?: unknown): Error {
  const why = cause === undefined ? "" : `: ${messageOf(cause)}`;
  return Object.assign(new Error(`the connection broke in the middle${why}`, { cause }), { code: "ECONNRESET" });
}

function changed(what: string): LabelmillError {
  return new LabelmillError("INPUT_CHANGED", `${what} was replaced while it was read: run the same command again`);
}
