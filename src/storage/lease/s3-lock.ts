import { LabelmillError } from "../../errors.ts";
import { LOCK_FILE } from "../../schemas/names.ts";
import { parseS3Uri, type S3, type S3Place, s3Uri } from "../s3/s3.ts";
import { HeldLock, LOCK_TIMES, type LockOwner, type LockTimes } from "./held-lock.ts";
import type { OutputLock } from "./lock.ts";
import {
  encodeHolder,
  foreign,
  type Holder,
  hasEnded,
  isOnThisMachine,
  lockedBy,
  MAX_HOLDER_BYTES,
  newHolder,
  parseHolder,
} from "./lock-holder.ts";

/** A try fails only when another command has changed the lock at the same time. */
const MAX_TRIES = 100;

/** The content of the object `_lock`. `renewedAt` and `readAt` are times of the server's clock, in ms. */
type S3LockRecord = { holder: Holder; etag: string; renewedAt: number; readAt: number };

/**
 * Takes the exclusive lock of an output on S3: the object `_lock` below its prefix. It is written only if it does not exist,
 * and replaced only if it is still the object that was read (`If-None-Match`, `If-Match`). A holder on this machine loses the
 * lock as soon as its process has ended; a holder elsewhere, 60 s after its last renewal by the server's own clock.
 *
 * If the server ignores these conditions, the last writer holds the lock. Of two commands that take it at the same moment,
 * both may continue until the first writer's next renewal: it reads the other's name, and `lost` aborts.
 *
 * @param uri of the store, `s3://BUCKET/PREFIX/`
 * @throws LabelmillError OUTPUT_LOCKED (another command holds it), OUTPUT_FOREIGN (`_lock` is another object), STORE_FAILED
 */
export async function lockS3Output(s3: S3, uri: string, times: LockTimes = LOCK_TIMES): Promise<OutputLock> {
  const { bucket, key } = parseS3Uri(uri);
  const at = { bucket, key: `${key === "" || key.endsWith("/") ? key : `${key}/`}${LOCK_FILE}` };
  const holder = await newHolder();
  try {
    await acquire(s3, at, holder, times);
  } catch (error) {
    // We may hold the lock although a later step failed. No command could take it while this process runs.
    await removeOurs(s3, at, holder.token).catch(() => {});
    throw error;
  }
  return new HeldLock(
    {
      place: s3Uri(at),
      remote: true,
      renew: () => renew(s3, at, holder),
      remove: () => removeOurs(s3, at, holder.token),
    },
    times,
  );
}

/** Only a read shows who holds the lock: a server may write and then answer with an error. */
async function acquire(s3: S3, at: S3Place, holder: Holder, { staleMs }: LockTimes): Promise<void> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const held = await read(s3, at);
    if (held?.holder.token === holder.token) return;
    if (!held) await s3.putIfAbsent(at, encodeHolder(holder));
    else if (await isDead(held, staleMs)) await s3.replaceIf(at, held.etag, encodeHolder(holder));
    else throw lockedBy(s3Uri(at).slice(0, -LOCK_FILE.length), held);
  }
  throw new LabelmillError("OUTPUT_LOCKED", `${s3Uri(at)}: too many commands want this lock at once: try again`);
}

async function isDead({ holder, renewedAt, readAt }: S3LockRecord, staleMs: number): Promise<boolean> {
  return (await isOnThisMachine(holder)) ? hasEnded(holder) : readAt - renewedAt > staleMs;
}

/** Reads before it writes: on a server that ignores conditions, the lock of another command must not be overwritten. */
async function renew(s3: S3, at: S3Place, holder: Holder): Promise<LockOwner> {
  const held = await read(s3, at);
  if (!held) return "removed";
  if (held.holder.token !== holder.token) return "taken";
  const renewed = { ...holder, beat: (held.holder.beat ?? 0) + 1 };
  if ((await s3.replaceIf(at, held.etag, encodeHolder(renewed))) !== null) return "ours";
  throw new LabelmillError("STORE_FAILED", `${s3Uri(at)} changed while it was renewed`);
}

/** Removes `_lock` if it still has our token. */
async function removeOurs(s3: S3, at: S3Place, token: string): Promise<void> {
  const held = await read(s3, at).catch((error) => {
    // Another object is there by now, so there is no lock of ours to remove.
    if (error.code === "OUTPUT_FOREIGN") return undefined;
    throw error;
  });
  if (held?.holder.token === token) await s3.delete(at, held.etag);
}

async function read(s3: S3, at: S3Place): Promise<S3LockRecord | undefined> {
  try {
    const { bytes, etag, modifiedAt, readAt } = await s3.snapshot(at, { maxBytes: MAX_HOLDER_BYTES });
    const holder = parseHolder(Buffer.from(bytes).toString());
    if (!holder) throw foreign(s3Uri(at));
    return { holder, etag, renewedAt: modifiedAt.getTime(), readAt: readAt.getTime() };
  } catch (error) {
    if (!(error instanceof LabelmillError)) throw error;
    if (error.code === "STORE_NOT_FOUND") return undefined;
    throw error.code === "FETCH_TOO_LARGE" ? foreign(s3Uri(at)) : error;
  }
}
