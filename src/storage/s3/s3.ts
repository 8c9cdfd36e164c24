import type { Readable } from "node:stream";
import { LabelmillError } from "../../errors.ts";
import { retry, Tries } from "../../retry/retry.ts";
import { answeredAt, openS3Client, type S3Client, type S3Settings } from "./client.ts";
import { putIf } from "./conditional.ts";
import { type S3Operation, s3Code, s3Status } from "./error.ts";
import { foundOf, quotedEtag, type S3Found } from "./found.ts";
import { type ByteRange, readPieces } from "./pieces.ts";
import { readTags, type S3Tags, writeTags } from "./tagging.ts";
import { S3_LIMITS, type S3Limits, s3Retry, throwIfAborted } from "./tries.ts";
import { inPieces, PIECE_BYTES, type RequestS3, uploadPieces } from "./upload.ts";
import { type S3Place, s3Uri } from "./uri.ts";

export type { S3Settings } from "./client.ts";
export type { S3Found } from "./found.ts";
export { parseS3Uri, type S3Place, s3Uri } from "./uri.ts";

/** An object at one moment. `readAt` is this moment by the server's clock. */
export type S3Snapshot = S3Found & { bytes: Uint8Array; readAt: Date };

/** Observes every request, to detect a bucket that does not answer. `key` is an object's key or a prefix. */
export interface S3Watch {
  /** @param item whether an item refers to the key @returns a function to call once at the end, with the error of a failed request */
  onRequest(bucket: string, key: string, item?: boolean): (error?: unknown) => void;
}

type ReadStart = S3Found & { readAt: Date };
/** `etag`, `versionId`: only this version of the object. */
type ReadOptions = { signal?: AbortSignal; item?: boolean; etag?: string | undefined; versionId?: string | undefined };
type StreamOptions = ReadOptions & { range?: ByteRange };

/**
 * A client of S3 or a compatible server. A process has one and passes it on; `close` ends its connections.
 *
 * Every method retries temporary errors, with jitter. The final error is a LabelmillError: STORE_NOT_FOUND for a missing key,
 * STORE_FAILED for the rest, retryable if it may be temporary; ABORTED by the caller's signal.
 */
export class S3 {
  readonly #settings: S3Settings;
  readonly #limits: S3Limits;
  #opened: Promise<S3Client> | undefined;
  #watch: S3Watch | undefined;
  /** The server. The bucket's name may come before it. */
  #host = "an unknown host";

  /** @throws LabelmillError CONFIG_INVALID for an invalid endpoint */
  constructor(settings: S3Settings = {}, limits: Partial<S3Limits> = {}) {
    const { endpoint } = settings;
    if (endpoint !== undefined) {
      const url = URL.parse(endpoint);
      if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password)
        throw new LabelmillError(
          "CONFIG_INVALID",
          "expected S3's endpoint as http(s)://HOST[:PORT] without credentials, got another text",
        );
      this.#host = url.host;
    }
    this.#settings = settings;
    this.#limits = { ...S3_LIMITS, ...limits };
  }

  /** Reports requests to `watch` from now on. It replaces an earlier one. */
  setWatch(watch: S3Watch): void {
    this.#watch = watch;
  }

  /** A client with other limits and separate connections. The caller closes it. */
  withLimits(limits: Partial<S3Limits>): S3 {
    return new S3(this.#settings, { ...this.#limits, ...limits });
  }

  async head(at: S3Place): Promise<S3Found> {
    return this.#request("read", at, async ({ sdk, client }) => {
      const target = { Bucket: at.bucket, Key: at.key };
      try {
        return foundOf(await client.send(new sdk.HeadObjectCommand(target)));
      } catch (error) {
        const status = s3Status(error);
        if (status === undefined || status < 300 || status >= 500) throw error;
        // The answer to HEAD has no body and no reason: a missing bucket looks like a missing object. GET has both.
        const output = await client.send(new sdk.GetObjectCommand(target));
        drop(output.Body as Readable);
        return foundOf(output);
      }
    });
  }

  /** The whole object. @throws LabelmillError FETCH_TOO_LARGE for one over `maxBytes`, before its body is read */
  async get(at: S3Place, options: ReadOptions & { maxBytes?: number } = {}): Promise<Uint8Array> {
    return (await this.snapshot(at, options)).bytes;
  }

  /** The whole object with its metadata. Throws as `get` does, and INPUT_CHANGED if the object has another ETag than `etag`. */
  async snapshot(at: S3Place, options: ReadOptions & { maxBytes?: number } = {}): Promise<S3Snapshot> {
    const { maxBytes = Number.POSITIVE_INFINITY } = options;
    for (let tries = 1; ; tries += 1) {
      const pieces: Buffer[] = [];
      let found: ReadStart | undefined;
      let size = 0;
      const check = () => {
        if (Math.max(size, found?.size ?? 0) > maxBytes)
          throw new LabelmillError("FETCH_TOO_LARGE", `${s3Uri(at)}: expected at most ${maxBytes} bytes, got more`);
      };
      const onStart = (answer: ReadStart) => {
        found = answer;
        check();
      };
      try {
        for await (const piece of this.#read(at, options, onStart)) {
          pieces.push(piece);
          size += piece.length;
          check();
        }
        return { ...found!, size, bytes: Buffer.concat(pieces) };
      } catch (error) {
        // Replaced between two pieces: the new object is as good, if it does not change.
        const changed = error instanceof LabelmillError && error.code === "INPUT_CHANGED";
        if (!changed || options.etag !== undefined || tries >= this.#limits.tries) throw error;
      }
    }
  }

  /**
   * The object, or a range of it, in pieces. All pieces are of the object that was there first, or of `etag`. After a broken
   * connection, the next request continues at the same byte. @throws LabelmillError INPUT_CHANGED if the object was replaced
   */
  stream(at: S3Place, options: StreamOptions = {}): AsyncGenerator<Buffer> {
    return this.#read(at, options);
  }

  /** Writes or replaces. If a body in pieces fails, the old object remains and the body's error is thrown unchanged. */
  async put(at: S3Place, body: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    if (body instanceof Uint8Array) return this.#putWhole(at, body);
    const pieces = inPieces(body);
    try {
      const first = await pieces.next();
      if (first.done) return await this.#putWhole(at, new Uint8Array());
      if (first.value.length < PIECE_BYTES) return await this.#putWhole(at, first.value);
      await uploadPieces(
        { request: this.#requestFor(at), size: async () => (await this.head(at)).size },
        at,
        first.value,
        pieces,
      );
    } finally {
      await pieces.return(undefined);
    }
  }

  /**
   * Writes if the key does not exist, on a server that supports `If-None-Match`. False: an object exists. It may be of an
   * earlier try of this same call, if the server wrote it and then answered with an error.
   */
  async putIfAbsent(at: S3Place, body: Uint8Array): Promise<boolean> {
    return (await putIf(this.#requestFor(at), at, null, body)).etag !== undefined;
  }

  /**
   * Writes if the object has this ETag or, with null, if it does not exist, on a server that supports `If-Match` and
   * `If-None-Match`. A write of an earlier try counts, if the server wrote it and then answered with an error.
   * @returns the new ETag; null if the object is another one by now
   */
  async replaceIf(at: S3Place, etag: string | null, body: Uint8Array): Promise<string | null> {
    const { etag: written, tries } = await putIf(this.#requestFor(at), at, etag, body);
    if (written !== undefined || tries === 1) return written ?? null;
    const { bytes, etag: now } = await this.snapshot(at);
    return Buffer.compare(bytes, body) === 0 ? now : null;
  }

  /** The tags of an object, or of one version of it. */
  async tags(at: S3Place, versionId?: string): Promise<S3Tags> {
    return readTags(this.#requestFor(at), at, versionId);
  }

  /** Replaces all tags of an object, or of one version of it. */
  async setTags(at: S3Place, tags: S3Tags, versionId?: string): Promise<void> {
    await writeTags(this.#requestFor(at), at, tags, versionId);
  }

  /** Deletes an object, if it exists. With `etag`, only this one, on a server that supports `If-Match`. */
  async delete(at: S3Place, etag?: string): Promise<void> {
    try {
      await this.#request("delete", at, ({ sdk, client }) => {
        const condition = etag === undefined ? {} : { IfMatch: quotedEtag(etag) };
        return client.send(new sdk.DeleteObjectCommand({ Bucket: at.bucket, Key: at.key, ...condition }));
      });
    } catch (error) {
      if (!(error instanceof LabelmillError)) throw error;
      if (error.code === "STORE_NOT_FOUND" || s3Status(error.cause) === 412) return;
      // Not every server that supports conditions on PUT has them on DELETE.
      if (etag !== undefined && s3Code(error.cause) === "NotImplemented") return this.delete(at);
      throw error;
    }
  }

  /** The objects whose keys begin with `prefix`, as the server orders them: S3 does in the keys' byte order. */
  async *list(bucket: string, prefix: string): AsyncGenerator<{ key: string } & S3Found> {
    let token: string | undefined;
    do {
      const page = await this.#request("list", { bucket, key: prefix }, ({ sdk, client }) =>
        client.send(
          new sdk.ListObjectsV2Command({
            Bucket: bucket,
            Prefix: prefix,
            // A key may contain characters that XML cannot.
            EncodingType: "url",
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
        const key = page.EncodingType === "url" ? decodeURIComponent(Key!.replaceAll("+", " ")) : Key!;
        // Some servers treat `//` as `/`.
        if (key.startsWith(prefix)) yield { key, ...foundOf({ ContentLength: Size, ETag, LastModified }) };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  close(): void {
    this.#opened?.then(({ client }) => client.destroy()).catch(() => {});
  }

  async #send<T>(request: (opened: S3Client) => Promise<T>): Promise<T> {
    this.#opened ??= openS3Client(this.#settings, this.#limits, (host) => {
      this.#host = host;
    });
    return request(await this.#opened);
  }

  async #watched<T>(at: S3Place, request: (opened: S3Client) => Promise<T>, item = false): Promise<T> {
    const onEnd = this.#watch?.onRequest(at.bucket, at.key, item);
    try {
      const answer = await this.#send(request);
      onEnd?.();
      return answer;
    } catch (error) {
      onEnd?.(error);
      throw error;
    }
  }

  async #request<T>(doing: S3Operation["doing"], at: S3Place, request: (opened: S3Client) => Promise<T>): Promise<T> {
    return retry(
      () => this.#watched(at, request),
      s3Retry(() => this.#operation(doing, at), this.#limits),
    );
  }

  #requestFor(at: S3Place): RequestS3 {
    return (doing, send) => this.#request(doing, at, send);
  }

  #operation(doing: S3Operation["doing"], at: S3Place): S3Operation {
    const host = this.#host.startsWith(`${at.bucket}.`) ? this.#host.slice(at.bucket.length + 1) : this.#host;
    return { doing, what: s3Uri(at), host };
  }

  /** `onStart` receives the metadata of the first answer before any piece, and may throw. */
  #read(
    at: S3Place,
    { etag, versionId, range, signal, item }: StreamOptions,
    onStart?: (found: ReadStart) => void,
  ): AsyncGenerator<Buffer> {
    const end = range?.end === undefined ? "" : range.end - 1;
    const get = async (offset: number, ifMatch: string | undefined) => {
      throwIfAborted(signal);
      const target = {
        ...{ Bucket: at.bucket, Key: at.key, ...(versionId === undefined ? {} : { VersionId: versionId }) },
        ...(ifMatch ? { IfMatch: quotedEtag(ifMatch) } : {}),
        ...(offset === 0 && end === "" ? {} : { Range: `bytes=${offset}-${end}` }),
      };
      const get = ({ sdk, client }: S3Client) =>
        client.send(new sdk.GetObjectCommand(target), signal ? { abortSignal: signal } : {});
      const output = await this.#watched(at, get, item);
      const body = output.Body as Readable;
      const found = foundOf(output);
      try {
        if (offset === 0) onStart?.({ ...found, readAt: answeredAt(output) });
      } catch (error) {
        drop(body);
        throw error;
      }
      return { body, left: output.ContentLength, etag: found.etag, ranged: output.ContentRange !== undefined };
    };
    const tries = new Tries(s3Retry(() => this.#operation("read", at), this.#limits, signal));
    return readPieces({ what: s3Uri(at), get, tries }, etag, range);
  }

  async #putWhole(at: S3Place, body: Uint8Array): Promise<void> {
    await this.#request("write", at, ({ sdk, client }) =>
      client.send(new sdk.PutObjectCommand({ Bucket: at.bucket, Key: at.key, Body: body })),
    );
  }
}

function drop(body: Readable): void {
  body.on("error", () => {}).destroy();
}
