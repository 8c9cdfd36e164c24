import type { FileHandle } from "node:fs/promises";
import { LabelmillError, systemCode } from "../errors.ts";
import { collect } from "../retry/read-body.ts";
import { isUploadUri } from "../schemas/names.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { aborted, type Expected, tooLarge } from "./failure.ts";
import type { FileGrants } from "./grants.ts";
import type { Resolve } from "./guard.ts";
import { HttpFetcher } from "./http.ts";
import { DEFAULT_LIMITS, type FetchLimits } from "./limits.ts";
import { showUrl } from "./printable-url.ts";
import { getObject } from "./s3.ts";
import { S3Grants } from "./s3-grants.ts";

const AN_IMAGE: Expected = { what: "an image" };
const READ_BYTES = 256 * 1024;

/** The outputs whose uploads may be read, although the outputs themselves are not granted for reading. */
export type UploadGrants = { files: FileGrants; s3: S3Grants };

/** Fetches the bytes that an item's reference names: `file:` and `s3:` inside the grants, http and https through the guard. */
export class Fetcher {
  readonly #grants: FileGrants;
  /** Undefined: no `s3:` reference is granted. */
  readonly #s3: { s3: S3; grants: S3Grants } | undefined;
  readonly #uploads: UploadGrants | undefined;
  readonly #limits: FetchLimits;
  readonly #http: HttpFetcher;

  /**
   * @param options.s3 reads `s3:` references; the caller closes it. If omitted, nothing on S3 is granted
   * @param options.allowPrivate whether hosts may have private and loopback addresses
   * @param options.limits replaces some of DEFAULT_LIMITS
   * @param options.resolve the name resolver. Default: the system's
   */
  constructor(options: {
    grants: FileGrants;
    s3?: S3;
    s3Grants?: S3Grants;
    uploads?: UploadGrants | undefined;
    allowPrivate: boolean;
    limits?: Partial<FetchLimits>;
    resolve?: Resolve;
  }) {
    this.#grants = options.grants;
    this.#s3 = options.s3 && { s3: options.s3, grants: options.s3Grants ?? new S3Grants([]) };
    this.#uploads = options.uploads;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#http = new HttpFetcher({
      allowPrivate: options.allowPrivate,
      limits: this.#limits,
      resolve: options.resolve,
    });
  }

  /**
   * The bytes of one image or file, neither decoded nor checked. They may be empty.
   *
   * @param ref an absolute URL
   * @param expected its version is for S3 and http(s): a file has none
   * @throws LabelmillError URL_REFUSED, NOT_GRANTED, IMAGE_NOT_FOUND, IMAGE_INVALID (not a regular file, a prefix),
   * FETCH_TOO_LARGE, FETCH_FAILED, FETCH_UNAVAILABLE, ABORTED, STORE_FAILED (S3 refuses the credentials), INPUT_CHANGED (the
   * object has not the expected version). Messages contain no credentials and no queries.
   */
  async get(ref: string, signal: AbortSignal, expected: Expected = AN_IMAGE): Promise<Uint8Array> {
    // Not parsed as a URL: the parser would resolve `..`.
    if (/^s3:/i.test(ref)) return await this.#getObject(ref, expected, signal);
    const url = URL.parse(ref);
    // The text is not shown: without parsing, a password in it cannot be found.
    if (!url) throw new LabelmillError("URL_REFUSED", "expected an absolute URL, got another text");
    if (url.protocol === "file:") return await this.#readFile(url, expected, signal);
    return await this.#http.get(url, expected, signal);
  }

  /** Closes the connections. Running fetches end with ABORTED. */
  async close(): Promise<void> {
    await this.#http.close();
  }

  async #getObject(ref: string, expected: Expected, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#s3 === undefined) {
      const message =
        "expected a file or an http(s) URL, got an s3: reference, and nothing on S3 is granted: set s3Roots (LABELMILL_S3_ROOTS)";
      throw new LabelmillError("NOT_GRANTED", message);
    }
    const maxBytes = Math.min(this.#limits.maxFileBytes, expected.maxBytes ?? Number.POSITIVE_INFINITY);
    const grants = (await this.#uploadGrants(ref))?.s3 ?? this.#s3.grants;
    return await getObject(ref, expected, { s3: this.#s3.s3, grants, maxBytes, signal });
  }

  /** The grants for a reference to an upload. If undefined, the other grants decide, and name the fix. */
  async #uploadGrants(ref: string): Promise<UploadGrants | undefined> {
    const uploads = this.#uploads;
    if (!uploads || !isUploadUri(ref)) return undefined;
    try {
      if (/^s3:/i.test(ref)) uploads.s3.check(ref);
      else await uploads.files.resolve(ref);
      return uploads;
    } catch {
      return undefined;
    }
  }

  async #readFile(url: URL, expected: Expected, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) throw aborted(signal.reason);
    const grants = (await this.#uploadGrants(url.href))?.files ?? this.#grants;
    await using handle = await grants.open(url.href);
    const shown = showUrl(url);
    const maxFileBytes = Math.min(this.#limits.maxFileBytes, expected.maxBytes ?? Number.POSITIVE_INFINITY);
    const { size } = await handle.stat();
    const over = () => tooLarge(maxFileBytes, shown);
    if (size > maxFileBytes) throw over();
    try {
      // The limit is needed again here: a file may grow while it is read.
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

/** All chunks share one buffer: a chunk is valid until the next is read. */
async function* chunksOf(handle: FileHandle, size: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
  // One byte more than the file's size: most files take one read, and the second finds the end.
  const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, size + 1));
  for (;;) {
    if (signal.aborted) throw aborted(signal.reason);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
