import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { readInfo } from "./check-server.ts";
import { describeAddress, openRedis, type RedisAddress } from "./connect.ts";

/** The longest time for the disk of the server, in ms. With `appendfsync everysec` a write takes a second. */
const CONFIRM_MS = 5_000;

/**
 * Confirms that writes are in the append-only file on the disk of Redis. One confirmation serves all callers that asked before it began. It
 * has a separate connection, which is blocked meanwhile.
 */
export class AofConfirmation {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #isImplied: boolean;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  private constructor(redis: Redis, key: string, isImplied: boolean) {
    this.#redis = redis;
    this.#key = key;
    this.#isImplied = isImplied;
  }

  /**
   * Connects, and checks that the server can confirm.
   * @param key a key for this use alone
   * @throws LabelmillError REDIS_UNFIT, and as `openRedis`
   */
  static async open(address: RedisAddress, key: string): Promise<AofConfirmation> {
    const redis = await openRedis(address, "producer");
    try {
      return new AofConfirmation(redis, key, await isConfirmedByReply(redis, describeAddress(address)));
    } catch (error) {
      redis.disconnect();
      throw error;
    }
  }

  /**
   * Resolves when every write is on the disk whose reply arrived before this call, over any connection.
   * @throws LabelmillError ACCEPT_UNCONFIRMED after 5 s, or if the connection is lost
   */
  async confirm(): Promise<void> {
    if (this.#isImplied) return;
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      const confirmed = this.#confirm();
      this.#running = confirmed.catch(() => {});
      return confirmed;
    });
    await this.#next;
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #confirm(): Promise<void> {
    let copies: unknown;
    try {
      // The file has the order of the writes: a later write of this connection confirms those of other ones.
      const sent = this.#redis.pipeline().set(this.#key, "1").call("WAITAOF", "1", "0", CONFIRM_MS).exec();
      const replies = await sent;
      for (const [error] of replies ?? []) if (error) throw error;
      copies = (replies?.[1]?.[1] as unknown[] | undefined)?.[0];
    } catch (cause) {
      throw new LabelmillError("ACCEPT_UNCONFIRMED", "Redis did not confirm the submission: submit it again", {
        cause,
      });
    }
    if (copies !== 1)
      throw new LabelmillError(
        "ACCEPT_UNCONFIRMED",
        `expected Redis to write the submission to its disk within ${CONFIRM_MS / 1000} s, got no confirmation: submit it again, or check its disk`,
      );
  }
}

/**
 * Whether the reply to a write confirms it already. False: WAITAOF does.
 * @throws LabelmillError REDIS_UNFIT if neither does
 */
async function isConfirmedByReply(redis: Redis, where: string): Promise<boolean> {
  try {
    // A time-out of 1 ms: the server replies at once in each case.
    await redis.call("WAITAOF", "1", "0", "1");
    return false;
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "ReplyError") throw error;
    if (/appendonly is disabled/i.test(error.message)) throw unfit(where, "appendonly no");
    // Older than 7.2, or WAITAOF is forbidden to this user.
  }
  const isEnabled = (await readInfo(redis)).get("aof_enabled");
  if (isEnabled === "0") throw unfit(where, "appendonly no");
  const fsync = await setting(redis, "appendfsync");
  const skips = await setting(redis, "no-appendfsync-on-rewrite");
  if (isEnabled === "1" && fsync === "always" && skips === "no") return true;
  if (fsync === undefined) throw unfit(where, "a server without WAITAOF that forbids CONFIG GET and INFO");
  throw unfit(where, `a server without WAITAOF, with appendfsync ${fsync} and no-appendfsync-on-rewrite ${skips}`);
}

/** @returns undefined if this user may not read it */
async function setting(redis: Redis, name: string): Promise<string | undefined> {
  try {
    return ((await redis.config("GET", name)) as string[]).at(1);
  } catch (error) {
    if (error instanceof Error && error.name === "ReplyError") return undefined;
    throw error;
  }
}

function unfit(where: string, got: string): LabelmillError {
  return new LabelmillError(
    "REDIS_UNFIT",
    `--accept redis: expected a Redis at ${where} with appendonly yes, and version 7.2 or appendfsync always; got ${got}. ` +
      "Set it in redis.conf, or use --accept store",
  );
}
