import { after } from "node:test";
import type { Redis } from "ioredis";
import { openRedis } from "../../../src/redis/connect.ts";
import { type Committed, RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { startTestRedis } from "../servers/redis.ts";

/** The output, model and lane of the runs in tests of the ledger. */
export const ABOUT = { output: "memory:x", model: { id: "m", digest: "0".repeat(64) }, lane: "bulk" } as const;

/** A ledger on a separate server for one test file. The server ends after its last test. */
export async function openTestLedger(): Promise<{ redis: Redis; ledger: RunLedger }> {
  const server = await startTestRedis();
  const redis = await openRedis(server.address, "producer");
  after(async () => {
    redis.disconnect();
    await server.close();
  });
  return { redis, ledger: new RunLedger(redis) };
}

/** The commit of a part with `rows` rows, of which `errors` are in error. */
export function partOf(rows: number, errors = 0): Committed {
  return {
    receipt: { rows, errors, bytes: rows * 10, sha256: "ab".repeat(32) },
    labels: rows > errors ? { POSITIVE: rows - errors } : {},
    errorCodes: errors > 0 ? { EMPTY_TEXT: errors } : {},
  };
}
