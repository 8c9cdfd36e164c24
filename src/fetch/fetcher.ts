import type { FileHandle } from "node:fs/promises";
import { LabelmillError, systemCode } from "../errors.ts";
import { collect } from "../retry/body.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { aborted, tooLarge } from "./failure.ts";
import type { FileGrants } from "./grants.ts";
import type { Resolve } from "./guard.ts";
import { HttpFetcher } from "./http.ts";
import { DEFAULT_LIMITS, type FetchLimits } from "./limits.ts";
import { getObject } from "./s3.ts";
import { S3Grants } from "./s3-grants.ts";
import { showUrl } from "./show.ts";

const READ_BYTES = 256 * 1024;

/** Brings the bytes behind an item's reference: `file:` and `s3:` inside the grants, http and https through the guard. */
export class Fetcher {
  readonly #grants: FileGrants;
  /** Without an S3, none of it is granted. */
  readonly #s3: { s3: S3; grants: S3Grants } | undefined;
  readonly #limits: FetchLimits;
  readonly #http: HttpFetcher;

  /**
   * @param options.s3 what `s3:` references are read with, the caller's to close; none: nothing on S3 is granted
   * @param options.allowPrivate whether hosts may have private and loopback addresses
   * @param options.limits those that differ from DEFAULT_LIMITS
   * @param options.resolve the name resolver, the system's by default
   */
  constructor(options: {
    grants: FileGrants;
    s3?: S3;
    s3Grants?: S3Grants;
    allowPrivate: boolean;
    limits?: Partial<FetchLimits>;
    resolve?: Resolve;
  }) {
    this.#grants = options.grants;
    this.#s3 = options.s3 && { s3: options.s3, grants: options.s3Grants ?? new S3Grants([]) };
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#http = new HttpFetcher({
      allowPrivate: options.allowPrivate,
      limits: this.#limits,
      resolve: options.resolve,
    });
  }

  /**
   * The bytes of one image, undecoded and unjudged: they may be empty.
   *
   * @param ref an absolute URL
   * @throws LabelmillError URL_REFUSED, NOT_GRANTED, IMAGE_NOT_FOUND, IMAGE_INVALID (not a regular file, a prefix),
   * FETCH_TOO_LARGE, FETCH_FAILED, FETCH_UNAVAILABLE, ABORTED, STORE_FAILED (S3's credentials are refused). Messages hold no credentials and no queries.
   */
  async get(ref: string, signal: AbortSignal): Promise<Uint8Array> {
    // Not for the URL parser, which resolves `..`.
    if (/^s3:/i.test(ref)) return await this.#getObject(ref, signal);
    const url = URL.parse(ref);
    // Not shown: what does not parse may hold a password anywhere.
    if (!url) throw new LabelmillError("URL_REFUSED", "expected an absolute URL, got something that is none");
    if (url.protocol === "file:") return await this.#readFile(url, signal);
    return await this.#http.get(url, signal);
  }

  /** Drops the connections; fetches under way end with ABORTED. */
  async close(): Promise<void> {
    await this.#http.close();
  }

  async #getObject(ref: string, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#s3 === undefined) {
      const message =
        "expected a file or an http(s) URL, for nothing on S3 is granted: see s3Roots (LABELMILL_S3_ROOTS)";
      throw new LabelmillError("NOT_GRANTED", message);
    }
    return await getObject(ref, { ...this.#s3, maxBytes: this.#limits.maxFileBytes, signal });
  }

  async #readFile(url: URL, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) throw aborted(signal.reason);
    await using handle = await this.#grants.open(url.href);
    const shown = showUrl(url);
    const { maxFileBytes } = this.#limits;
    const { size } = await handle.stat();
    const over = () => tooLarge(maxFileBytes, shown);
    if (size > maxFileBytes) throw over();
    try {
      // The size is no bound: a file may grow while it is read.
      return await collect(chunksOf(handle, size, signal), {
        maxBytes: maxFileBytes,
        tooLarge: over,
        expectedBytes: size,
      });
    } catch (error) {
      if (error instanceof LabelmillError) throw error;
      const message = `${shown}: could not be read (${systemCode(error) ?? "unknown"})`;
      throw new LabelmillError("FETCH_UNAVAILABLE", message, { cause: error });
    }
  }
}

/** One buffer for all chunks: each holds until the next is asked for. */
async function* chunksOf(handle: FileHandle, size: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
  // One byte more than the file has: most files are then read in one go, and their end is seen in the next.
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size + 1));
  for (;;) {
    if (signal.aborted) throw aborted(signal.reason);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
