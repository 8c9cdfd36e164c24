import { hash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import { checkKey, sortKeys } from "./key.ts";
import type { Body, ObjectStore, StoredObject } from "./store.ts";

/** All stores of this process, by name: two workers of one process that open the same name share a store. */
const STORES = new Map<string, Map<string, Uint8Array>>();

const PIECE_BYTES = 1 << 18;

/** A store in the memory of this process, for tests and demonstrations. Its content is lost when the process ends. */
export class MemoryStore implements ObjectStore {
  readonly uri: string;
  readonly conditionalWrites = true;
  /** The bytes are copied when they are written and read, so that callers cannot change them. */
  readonly #objects: Map<string, Uint8Array>;

  constructor(name: string) {
    this.uri = `memory:${name}/`;
    const objects = STORES.get(name) ?? new Map<string, Uint8Array>();
    STORES.set(name, objects);
    this.#objects = objects;
  }

  async get(key: string): Promise<Uint8Array> {
    return this.#find(key).slice();
  }

  async getWithEtag(key: string): Promise<{ bytes: Uint8Array; etag: string } | undefined> {
    checkKey(key);
    const bytes = this.#objects.get(key)?.slice();
    return bytes && { bytes, etag: hash("sha256", bytes) };
  }

  async head(key: string): Promise<{ etag: string; size: number } | undefined> {
    const found = await this.getWithEtag(key);
    return found && { etag: found.etag, size: found.bytes.length };
  }

  async *stream(key: string): AsyncGenerator<Uint8Array> {
    const bytes = this.#find(key);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.slice(at, at + PIECE_BYTES);
  }

  async put(key: string, body: Body): Promise<void> {
    checkKey(key);
    const pieces: Uint8Array[] = [];
    if (body instanceof Uint8Array) pieces.push(body);
    else for await (const piece of body) pieces.push(piece.slice());
    this.#objects.set(key, joined(pieces));
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    checkKey(key);
    if (this.#objects.has(key)) return false;
    this.#objects.set(key, joined([body]));
    return true;
  }

  async replaceIf(key: string, etag: string | null, body: Uint8Array): Promise<string | null> {
    checkKey(key);
    const there = this.#objects.get(key);
    if ((there ? hash("sha256", there) : null) !== etag) return null;
    const bytes = joined([body]);
    this.#objects.set(key, bytes);
    return hash("sha256", bytes);
  }

  async remove(key: string): Promise<void> {
    checkKey(key);
    this.#objects.delete(key);
  }

  async *list(prefix: string): AsyncGenerator<StoredObject> {
    for (const key of sortKeys([...this.#objects.keys()].filter((key) => key.startsWith(prefix)))) {
      const size = this.#objects.get(key)?.length;
      if (size !== undefined) yield { key, size };
    }
  }

  #find(key: string): Uint8Array {
    checkKey(key);
    const bytes = this.#objects.get(key);
    if (!bytes) throw new LabelmillError("STORE_NOT_FOUND", `${this.uri}${key} does not exist`);
    return bytes;
  }
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
