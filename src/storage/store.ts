/**
 * Where parts and the files of a run live. Keys are relative, with `/` between their segments. A key is refused (NOT_GRANTED)
 * if it is empty or longer than 1,024 bytes, begins with `/`, has a segment that is empty, `.` or `..`, a backslash, a NUL or
 * a lone surrogate, or a segment in the form of a file that a store keeps for itself (`.NAME.<16 hex>.aside` or `.claim`).
 * What leads out of the store by a symbolic link is refused likewise. What fails for the store's own reasons fails with
 * STORE_FAILED, retryable if the same call may succeed later; what is not there, with STORE_NOT_FOUND. An error that a
 * body's own iterator throws comes through as it is, unless it carries a system code.
 */
export interface ObjectStore extends ReadableStore {
  /** False where the store cannot refuse a second write to a key. */
  readonly conditionalWrites: boolean;
  /** Writes or replaces: readers see the old object or the new one, never a part of it. */
  put(key: string, body: Body): Promise<void>;
  /**
   * Writes if nothing is there. True: these bytes stand, safely stored. False: something stood there before, untouched; on S3
   * that may be what an earlier try of this very call wrote, if the server wrote it and then answered an error: read it.
   */
  putIfAbsent(key: string, body: Uint8Array): Promise<boolean>;
  /** What is not there is fine. */
  remove(key: string): Promise<void>;
}

/** The side of a store that changes nothing: neither opening it nor a call on it writes, makes or removes anything. */
export interface ReadableStore {
  /** The place as a URI that ends in `/`: what a job carries. */
  readonly uri: string;
  /** The whole object. */
  get(key: string): Promise<Uint8Array>;
  /** The object in pieces, for what may be large. Errors come when it is read, not when it is asked for. */
  stream(key: string): AsyncIterable<Uint8Array>;
  /** The objects whose keys begin with `prefix`, in the keys' byte order; sizes in bytes. */
  list(prefix: string): AsyncIterable<StoredObject>;
}

export type Body = Uint8Array | AsyncIterable<Uint8Array>;
export type StoredObject = { key: string; size: number };
