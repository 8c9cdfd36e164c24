import { LabelmillError } from "../errors.ts";
import { S3, type S3Found, type S3Place, type S3Snapshot } from "../storage/s3/s3.ts";

/** Rejects what may not be opened: an object, or a prefix that is listed. @throws LabelmillError NOT_GRANTED */
export type CheckS3 = (at: S3Place) => void;

/**
 * An S3 client that reads only what `check` accepts, over the connections of another client. It is for code that opens what
 * a caller names, and that follows names in lists: no read passes by the check. It does not write. `close` does nothing.
 */
export class GrantedS3 extends S3 {
  readonly #s3: S3;
  readonly #check: CheckS3;

  constructor(s3: S3, check: CheckS3) {
    super();
    this.#s3 = s3;
    this.#check = check;
  }

  override async head(at: S3Place): Promise<S3Found> {
    this.#check(at);
    return this.#s3.head(at);
  }

  override async get(at: S3Place, options: Parameters<S3["get"]>[1] = {}): Promise<Uint8Array> {
    return (await this.snapshot(at, options)).bytes;
  }

  override async snapshot(at: S3Place, options: Parameters<S3["snapshot"]>[1] = {}): Promise<S3Snapshot> {
    this.#check(at);
    return this.#s3.snapshot(at, options);
  }

  override async *stream(at: S3Place, options: Parameters<S3["stream"]>[1] = {}): AsyncGenerator<Buffer> {
    this.#check(at);
    yield* this.#s3.stream(at, options);
  }

  override async *list(bucket: string, prefix: string): AsyncGenerator<{ key: string } & S3Found> {
    this.#check({ bucket, key: prefix });
    yield* this.#s3.list(bucket, prefix);
  }

  override async tags(at: S3Place, versionId?: string): ReturnType<S3["tags"]> {
    this.#check(at);
    return this.#s3.tags(at, versionId);
  }

  override async setTags(): Promise<never> {
    throw readOnly();
  }

  override async put(): Promise<never> {
    throw readOnly();
  }

  override async putIfAbsent(): Promise<never> {
    throw readOnly();
  }

  override async replaceIf(): Promise<never> {
    throw readOnly();
  }

  override async delete(): Promise<never> {
    throw readOnly();
  }

  override setWatch(): never {
    throw readOnly();
  }

  override withLimits(): never {
    throw readOnly();
  }

  override close(): void {}
}

function readOnly(): LabelmillError {
  return new LabelmillError("INTERNAL", "a client for granted reads neither writes nor changes its settings");
}
