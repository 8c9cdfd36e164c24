// The service that sends webhooks, in its own process. The first argument is a WebhooksMainOptions as JSON.
import { createLogger } from "../../../src/logger.ts";
import type { RedisAddress } from "../../../src/redis/connect.ts";
import { openStore } from "../../../src/storage/open.ts";
import { openWebhooks } from "../../../src/webhooks/service.ts";
import { FAST } from "../runs/pipeline.ts";

export type WebhooksMainOptions = { redis: RedisAddress; state: string; secret: string };

const { redis, state, secret } = JSON.parse(process.argv[2]!) as WebhooksMainOptions;
await openWebhooks({
  config: { ...FAST, graceMs: 1000, allowPrivate: true, webhooks: [], webhookSecrets: [secret] },
  redis,
  state: await openStore(state),
  log: createLogger("silent", false),
  settle: async () => {},
});
