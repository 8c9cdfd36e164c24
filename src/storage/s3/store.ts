import { LabelmillError } from "../../errors.ts";
import { checkKey, isKey } from "../key.ts";
import type { Body, ObjectStore, ReadableStore, StoredObject } from "../store.ts";
import { ifThere } from "../store-error.ts";
import { s3Code } from "./error.ts";
import { parseS3Uri, type S3, type S3Place, s3Uri } from "./s3.ts";

/** The ETag of no object. */
const UNUSED_ETAG = "0".repeat(32);

type Probe = (s3: S3, at: S3Place) => Promise<boolean>;

/** The probes of a bucket. Each has its own reserved name, so that they do not disturb each other, and no list shows it. */
const PROBES = {
  write: { key: ".probe.0000000000000000.aside", probe: probeWrite },
  replace: { key: ".probe.0000000000000001.aside", probe: probeReplace },
} satisfies Record<string, { key: string; probe: Probe }>;

/** What is known of buckets: whether one refuses a second write, and whether one refuses to replace another object. Probed once. */
const KNOWN = new WeakMap<S3, Map<string, Promise<boolean>>>();

/**
 * Objects below a prefix of a bucket. On a server that ignores conditions, `putIfAbsent` checks and then writes: two concurrent
 * writers may both succeed, and `conditionalWrites` is false. On a server that ignores `If-Match`, `replaceIf` does the same.
 */
export class S3Store implements ObjectStore {
  readonly uri: string;
  readonly conditionalWrites: boolean;
  readonly #s3: S3;
  readonly #bucket: string;
  /** A key prefix: empty, or with a `/` at its end. */
  readonly #root: string;

  private constructor(s3: S3, { bucket, key }: S3Place, conditionalWrites: boolean) {
    this.#s3 = s3;
    this.#bucket = bucket;
    this.#root = key;
    this.uri = s3Uri({ bucket, key });
    this.conditionalWrites = conditionalWrites;
  }

  /**
   * Probes conditional writes by writing an object below the prefix, and removes it.
   * @param uri `s3://BUCKET/PREFIX`, with or without a `/` at its end
   * @throws LabelmillError USAGE, STORE_FAILED
   */
  static async open(s3: S3, uri: string): Promise<S3Store> {
    const root = rootOf(uri);
    return new S3Store(s3, root, await probed(s3, root, "write"));
  }

  /** @throws LabelmillError USAGE */
  static openToRead(s3: S3, uri: string): ReadableStore {
    return new S3Store(s3, rootOf(uri), true);
  }

  async get(key: string): Promise<Uint8Array> {
    return this.#s3.get(this.#at(key));
  }

  async getWithEtag(key: string): Promise<{ bytes: Uint8Array; etag: string } | undefined> {
    const at = this.#at(key);
    return ifThere(async () => {
      const { bytes, etag } = await this.#s3.snapshot(at);
      return { bytes, etag };
    });
  }

  async head(key: string): Promise<{ etag: string; size: number } | undefined> {
    const at = this.#at(key);
    return ifThere(async () => {
      const { etag, size } = await this.#s3.head(at);
      return { etag, size };
    });
  }

  async *stream(key: string): AsyncGenerator<Uint8Array> {
    yield* this.#s3.stream(this.#at(key));
  }

  async put(key: string, body: Body): Promise<void> {
    await this.#s3.put(this.#at(key), body);
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    const at = this.#at(key);
    if (this.conditionalWrites) return this.#s3.putIfAbsent(at, body);
    if (await this.head(key)) return false;
    await this.#s3.put(at, body);
    return true;
  }

  async replaceIf(key: string, etag: string | null, body: Uint8Array): Promise<string | null> {
    const at = this.#at(key);
    const refuses = this.conditionalWrites && (etag === null || (await this.#refusesToReplace()));
    if (refuses) return this.#s3.replaceIf(at, etag, body);
    if (((await this.head(key))?.etag ?? null) !== etag) return null;
    await this.#s3.put(at, body);
    return (await this.#s3.head(at)).etag;
  }

  async remove(key: string): Promise<void> {
    await this.#s3.delete(this.#at(key));
  }

  async *list(prefix: string): AsyncGenerator<StoredObject> {
    for await (const { key, size } of this.#s3.list(this.#bucket, this.#root + prefix)) {
      const ours = key.slice(this.#root.length);
      // Our own probe, folder markers and names that no store accepts: no key could read them.
      if (isKey(ours)) yield { key: ours, size };
    }
  }

  #refusesToReplace(): Promise<boolean> {
    return probed(this.#s3, { bucket: this.#bucket, key: this.#root }, "replace");
  }

  #at(key: string): S3Place {
    checkKey(key);
    return { bucket: this.#bucket, key: this.#root + key };
  }
}

function rootOf(uri: string): S3Place {
  const { bucket, key } = parseS3Uri(uri);
  return { bucket, key: key === "" || key.endsWith("/") ? key : `${key}/` };
}

function probed(s3: S3, { bucket, key }: S3Place, what: keyof typeof PROBES): Promise<boolean> {
  const { key: reserved, probe } = PROBES[what];
  const known = KNOWN.get(s3) ?? new Map<string, Promise<boolean>>();
  KNOWN.set(s3, known);
  const name = `${what} ${bucket}`;
  const answer = known.get(name) ?? supports(() => probe(s3, { bucket, key: key + reserved }));
  known.set(name, answer);
  answer.catch(() => known.delete(name));
  return answer;
}

/** Of concurrent probes, only the one that made the object removes it. The others find it, which is an answer too. */
async function probeWrite(s3: S3, at: S3Place): Promise<boolean> {
  if (!(await s3.putIfAbsent(at, new Uint8Array()))) return true;
  const again = await s3.putIfAbsent(at, new Uint8Array());
  await s3.delete(at);
  return !again;
}

/** If a concurrent probe removed the object, the answer is the same: a server that knows the condition refuses. */
async function probeReplace(s3: S3, at: S3Place): Promise<boolean> {
  await s3.put(at, new Uint8Array());
  const replaced = await s3.replaceIf(at, UNUSED_ETAG, new Uint8Array());
  await s3.delete(at);
  return replaced === null;
}

async function supports(probe: () => Promise<boolean>): Promise<boolean> {
  try {
    return await probe();
  } catch (error) {
    const code = error instanceof LabelmillError && error.code === "STORE_FAILED" ? s3Code(error.cause) : "";
    if (code === "NotImplemented") return false;
    // Without the right to write, a reader does not need the answer, and a writer gets this error at its first write.
    if (code === "AccessDenied") return true;
    throw error;
  }
}
