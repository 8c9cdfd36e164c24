import { LabelmillError } from "../../errors.ts";
import { LOCK_FILE } from "../../schemas/names.ts";
import { parseS3Uri, type S3, type S3Place, s3Uri } from "../s3/s3.ts";
import { HeldLock, LOCK_TIMES, type LockTimes } from "./held-lock.ts";
import type { OutputLock } from "./lock.ts";
import {
  encodeHolder,
  foreign,
  type Holder,
  isGone,
  isOnThisMachine,
  lockedBy,
  MAX_HOLDER_BYTES,
  newHolder,
  parseHolder,
} from "./lock-holder.ts";

/** Each try that fails means that another command got further meanwhile. */
const MAX_TRIES = 100;

/** What stands in the object `_lock`: `beatAt` and `readAt` are times of the server's clock, in ms. */
type Held = { holder: Holder; etag: string; beatAt: number; readAt: number };

/**
 * Takes the exclusive lock of an output on S3: the object `_lock` below its prefix. It is made only where none is, and followed
 * or renewed only as long as it is the very object that was read (`If-None-Match`, `If-Match`). A holder on this machine whose
 * process is gone loses it at once; one elsewhere, 60 s after its last sign of life by the server's own clock.
 *
 * Where the server ignores these conditions, whoever wrote last has it: of two commands that take it in the same moment both
 * may go on, until the next beat of the one that wrote first reads the other's name and `lost` fires.
 *
 * @param uri of the store, `s3://BUCKET/PREFIX/`
 * @throws LabelmillError OUTPUT_LOCKED (another has it), OUTPUT_FOREIGN (`_lock` is something else), STORE_FAILED
 */
export async function lockS3Output(s3: S3, uri: string, times: LockTimes = LOCK_TIMES): Promise<OutputLock> {
  const { bucket, key } = parseS3Uri(uri);
  const at = { bucket, key: `${key === "" || key.endsWith("/") ? key : `${key}/`}${LOCK_FILE}` };
  const holder = await newHolder();
  try {
    await acquire(s3, at, holder, times);
  } catch (error) {
    // It may have become ours before something failed, and nobody could take it while this process lives.
    await letGo(s3, at, holder.token).catch(() => {});
    throw error;
  }
  return new HeldLock(
    { place: s3Uri(at), remote: true, beat: () => beat(s3, at, holder), letGo: () => letGo(s3, at, holder.token) },
    times,
  );
}

/** Nothing is believed but what is read: a server may write and then answer that it could not. */
async function acquire(s3: S3, at: S3Place, holder: Holder, { staleMs }: LockTimes): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const held = await read(s3, at);
    if (held?.holder.token === holder.token) return;
    if (!held) await s3.putIfAbsent(at, encodeHolder(holder));
    else if (await isDead(held, staleMs)) await s3.replace(at, encodeHolder(holder), held.etag);
    else throw lockedBy(s3Uri(at).slice(0, -LOCK_FILE.length), held);
  }
  throw new LabelmillError("OUTPUT_LOCKED", `${s3Uri(at)} is wanted by too many commands at once: try again`);
}

async function isDead({ holder, beatAt, readAt }: Held, staleMs: number): Promise<boolean> {
  return (await isOnThisMachine(holder)) ? isGone(holder) : readAt - beatAt > staleMs;
}

/** Another's name may stand there by now, which must not be overwritten: so it is read first, whatever the server honours. */
async function beat(s3: S3, at: S3Place, holder: Holder): Promise<"ours" | "taken" | "gone"> {
  const held = await read(s3, at);
  if (!held) return "gone";
  if (held.holder.token !== holder.token) return "taken";
  const renewed = { ...holder, beat: (held.holder.beat ?? 0) + 1 };
  if (await s3.replace(at, encodeHolder(renewed), held.etag)) return "ours";
  throw new LabelmillError("STORE_FAILED", `${s3Uri(at)} changed while it was renewed`);
}

/** Removes `_lock` if it is still this holding's. */
async function letGo(s3: S3, at: S3Place, token: string): Promise<void> {
  const held = await read(s3, at).catch((error) => {
    // Something else stands there by now, so it is not ours to remove.
    if (error.code === "OUTPUT_FOREIGN") return undefined;
    throw error;
  });
  if (held?.holder.token === token) await s3.delete(at, held.etag);
}

async function read(s3: S3, at: S3Place): Promise<Held | undefined> {
  try {
    const { bytes, etag, modifiedAt, readAt } = await s3.snapshot(at, { maxBytes: MAX_HOLDER_BYTES });
    const holder = parseHolder(Buffer.from(bytes).toString());
    if (!holder) throw foreign(s3Uri(at));
    return { holder, etag, beatAt: modifiedAt.getTime(), readAt: readAt.getTime() };
  } catch (error) {
    if (!(error instanceof LabelmillError)) throw error;
    if (error.code === "STORE_NOT_FOUND") return undefined;
    throw error.code === "FETCH_TOO_LARGE" ? foreign(s3Uri(at)) : error;
  }
}
