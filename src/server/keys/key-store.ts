import { LabelmillError } from "../../errors.ts";
import { KEYS_FOLDER, REVOKED_KEYS_FOLDER } from "../../schemas/names.ts";
import type { ObjectStore, ReadableStore } from "../../storage/store.ts";
import type { Scope } from "../caller.ts";
import { hashOfKey, type KeyRecord, KeyRecordSchema, makeKey } from "./key.ts";

/** A key id has 32 random bits: two tries with the same id are rare, and more are a fault of the store. */
const TRIES = 5;

/** The keys on record, in the state store: those in use in one folder, the revoked ones in another. */
export class KeyStore {
  readonly #state: ReadableStore;

  constructor(state: ReadableStore) {
    this.#state = state;
  }

  /** Creates a key. Only its hash is stored. */
  static async create(
    state: ObjectStore,
    given: { name: string; scopes: readonly Scope[]; owner?: string },
  ): Promise<{ key: string; record: KeyRecord }> {
    for (let tries = 0; tries < TRIES; tries++) {
      const { id, key } = makeKey();
      const { name, scopes, owner = id } = given;
      const createdAt = new Date().toISOString();
      const record: KeyRecord = { v: 1, id, name, sha256: hashOfKey(key), scopes: [...scopes], owner, createdAt };
      if (await state.putIfAbsent(keyOf(KEYS_FOLDER, id), bytesOf(record))) return { key, record };
    }
    throw new LabelmillError(
      "STORE_FAILED",
      `expected to write a new key in ${state.uri}${KEYS_FOLDER}, but all ids exist`,
    );
  }

  /**
   * Revokes a key. The record of a revoked key stays. A second call changes nothing.
   * @throws LabelmillError USAGE if no key has this id
   */
  static async revoke(state: ObjectStore, id: string): Promise<KeyRecord> {
    const store = new KeyStore(state);
    const record = await store.#read(keyOf(KEYS_FOLDER, id));
    if (!record) {
      const revoked = await store.#read(keyOf(REVOKED_KEYS_FOLDER, id));
      if (revoked) return revoked;
      throw new LabelmillError("USAGE", `expected the id of a key in ${state.uri}, got ${id}: labelmill keys list`);
    }
    const revoked: KeyRecord = { ...record, revokedAt: new Date().toISOString() };
    // First, so that a server without other keys does not take this one for the only one that ever existed.
    await state.put(keyOf(REVOKED_KEYS_FOLDER, id), bytesOf(revoked));
    await state.remove(keyOf(KEYS_FOLDER, id));
    return revoked;
  }

  /** The ids of the keys in use. */
  async ids(): Promise<string[]> {
    return this.#idsIn(KEYS_FOLDER);
  }

  /** Whether any key was ever created, revoked ones included. */
  async hasRecords(): Promise<boolean> {
    for (const folder of [KEYS_FOLDER, REVOKED_KEYS_FOLDER])
      for await (const _ of this.#state.list(folder)) return true;
    return false;
  }

  /**
   * The key in use with this id. Undefined if it was revoked meanwhile.
   * @throws LabelmillError STORE_FAILED if the record cannot be read or has another form
   */
  async find(id: string): Promise<KeyRecord | undefined> {
    return this.#read(keyOf(KEYS_FOLDER, id));
  }

  /** All keys on record, the oldest first. */
  async all(): Promise<KeyRecord[]> {
    const records = new Map<string, KeyRecord>();
    // A key that is being revoked is in both folders until the server may no longer accept it.
    for (const folder of [REVOKED_KEYS_FOLDER, KEYS_FOLDER])
      for (const id of await this.#idsIn(folder)) {
        const record = await this.#read(keyOf(folder, id));
        if (record) records.set(id, record);
      }
    return [...records.values()].sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  }

  async #idsIn(folder: string): Promise<string[]> {
    const ids: string[] = [];
    for await (const { key } of this.#state.list(folder)) {
      const id = /^([0-9a-f]{8})\.json$/.exec(key.slice(folder.length))?.[1];
      if (id !== undefined) ids.push(id);
    }
    return ids;
  }

  async #read(key: string): Promise<KeyRecord | undefined> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#state.get(key);
    } catch (error) {
      if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return undefined;
      throw error;
    }
    try {
      return KeyRecordSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
    } catch (error) {
      throw new LabelmillError(
        "STORE_FAILED",
        `${this.#state.uri}${key}: expected the record of a key, as this version writes it: remove the file, or revoke the key with the version that wrote it`,
        { cause: error },
      );
    }
  }
}

function keyOf(folder: string, id: string): string {
  return `${folder}${id}.json`;
}

function bytesOf(record: KeyRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record));
}
