import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import type { BucketEvents } from "../events/bucket-events.ts";
import type { Logger } from "../logger.ts";
import type { Accepter } from "../producers/accept/accepter.ts";
import type { Idempotency } from "../producers/accept/idempotency.ts";
import type { Backlog } from "../producers/client/backlog.ts";
import type { RedisProducer } from "../producers/client/redis-producer.ts";
import type { RedisAddress } from "../redis/connect.ts";
import type { RunIndex } from "../runs/run-index.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { Caller, Scope } from "./caller.ts";
import type { KeyRing } from "./keys/key-ring.ts";
import type { RedisWatch } from "./limits/redis-watch.ts";
import type { DeclaredModels } from "./models/declared-models.ts";

/** What routes work with. They use it only while they handle a request: the OpenAPI document is made without it. */
export type ServerDeps = {
  config: Config;
  log: Logger;
  /** Where Redis listens, for parts that need connections of their own. */
  address: RedisAddress;
  /** Its commands fail immediately without a connection. */
  redis: Redis;
  redisWatch: RedisWatch;
  /** The output: where parts, runs and uploads go. */
  store: ObjectStore;
  /** The state store: what must outlive Redis, such as keys and idempotency records. */
  state: ObjectStore;
  s3: S3;
  models: DeclaredModels;
  keys: KeyRing;
  producer: RedisProducer;
  accepter: Accepter;
  idempotency: Idempotency;
  /** The secret of the servers that share the state store, for ids of runs that follow from what was submitted. */
  secret: string;
  runIndex: RunIndex;
  /** How long new items of a model wait. */
  backlog: Backlog;
  /** Receives events of buckets. */
  events: BucketEvents;
  /** Aborts when the server stops. Waiting requests answer then, and event streams end with a last event. */
  stopping: AbortSignal;
};

/** The server, whose routes have zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

declare module "fastify" {
  interface FastifyContextConfig {
    /** The scope that a caller needs. Null: the route authenticates its callers itself, without keys. */
    scope?: Scope | null;
    /** Errors have the members that clients of Hugging Face read, too. */
    huggingFace?: true;
  }
  interface FastifyRequest {
    caller: Caller;
  }
}
