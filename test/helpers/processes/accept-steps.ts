import type { RedisAddress } from "../../../src/redis/connect.ts";

/** The steps of a submission at which a test can kill the process, in order. */
export const ACCEPT_STEPS = ["begun", "keyed", "journaled", "queued", "listed", "ended", "removed"] as const;
export type AcceptStep = (typeof ACCEPT_STEPS)[number];

export type AcceptMainOptions = {
  redis: RedisAddress;
  output: string;
  state: string;
  accept?: "store" | "redis";
  /** The step at which the process kills itself. */
  kill?: AcceptStep;
  /** Submits with this idempotency key. Default: without one. */
  key?: string;
  texts: string[];
  /** Submissions, in turn. */
  count: number;
  /** Submissions at a time. Default: 1. */
  concurrency?: number;
  /** Stays after its last submission, to note ends, until it is killed. */
  stays?: boolean;
};
