/**
 * The place of the parts and files of a run. Keys are relative, with `/` between their segments. A key is refused
 * (NOT_GRANTED) if it is empty or longer than 1,024 bytes, begins with `/`, contains a backslash, a NUL or a lone surrogate, or
 * has a segment that is empty, `.`, `..` or the name of a store's own file (`.NAME.<16 hex>.aside` or `.claim`). A key that
 * leads out of the store by a symbolic link is refused too. Failures of the store are STORE_FAILED, retryable if the same call
 * may succeed later; missing objects are STORE_NOT_FOUND. An error of a body's own iterator is thrown unchanged, unless it has
 * a system code.
 */
export interface ObjectStore extends ReadableStore {
  /** False where the store cannot refuse a second write to a key. */
  readonly conditionalWrites: boolean;
  /** Writes or replaces: readers see the old object or the new one, never an incomplete one. */
  put(key: string, body: Body): Promise<void>;
  /**
   * Writes if the key does not exist. True: these bytes are stored safely. False: an object exists and is unchanged. On S3 it may
   * be of an earlier try of this same call, if the server wrote it and then answered with an error: read it to know.
   */
  putIfAbsent(key: string, body: Uint8Array): Promise<boolean>;
  /**
   * Writes if the object has this ETag, or, with null, if the key does not exist. Of concurrent calls with one ETag exactly one
   * succeeds, also if it takes several tries. Where the store cannot compare and write in one step, it compares and then writes;
   * `put` and `remove` of a file do not wait for this call.
   * @returns the new ETag; null if the object has another ETag by now, or does not exist
   */
  replaceIf(key: string, etag: string | null, body: Uint8Array): Promise<string | null>;
  /** Removes an object, if it exists. */
  remove(key: string): Promise<void>;
}

/** A store for reading: neither opening it nor a call on it writes or removes anything. */
export interface ReadableStore {
  /** The place as a URI that ends in `/`, as in a job. */
  readonly uri: string;
  /** The whole object. */
  get(key: string): Promise<Uint8Array>;
  /** The whole object with its ETag, which changes with its content. Undefined if it does not exist. */
  getWithEtag(key: string): Promise<{ bytes: Uint8Array; etag: string } | undefined>;
  /** The ETag of an object, and its size in bytes. Undefined if it does not exist. A folder reads the file to know its ETag. */
  head(key: string): Promise<{ etag: string; size: number } | undefined>;
  /** The object in pieces, for large ones. Errors are thrown while reading, not by this call. */
  stream(key: string): AsyncIterable<Uint8Array>;
  /** The objects whose keys begin with `prefix`, in the keys' byte order; sizes in bytes. */
  list(prefix: string): AsyncIterable<StoredObject>;
}

export type Body = Uint8Array | AsyncIterable<Uint8Array>;
export type StoredObject = { key: string; size: number };
