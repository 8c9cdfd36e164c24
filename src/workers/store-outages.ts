import type { Config } from "../config.ts";
import type { Logger } from "../logger.ts";
import { Outages } from "../storage/health/outages.ts";
import type { S3 } from "../storage/s3/s3.ts";

/** The longest wait between two probes, in waits before the first: 10 s by default. */
const LONGEST_WAIT = 10;

/** The outages of the stores of one process, told in its log. */
export function openOutages(s3: S3, config: Config, log: Logger): Outages {
  return new Outages(s3, {
    limitMs: config.outageLimit,
    refusedLimitMs: config.refusedLimit,
    firstProbeMs: config.backoffMs,
    mostProbeMs: LONGEST_WAIT * config.backoffMs,
    log: (level, line) => log[level](line),
  });
}
