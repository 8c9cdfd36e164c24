import type { Config } from "../../config.ts";
import type { Logger } from "../../logger.ts";
import { Outages } from "../../storage/health/outages.ts";
import type { S3 } from "../../storage/s3/s3.ts";

/** The longest wait between two probes is this many times the first one: 10 s by default. */
const MAX_PROBE_FACTOR = 10;

/** The outages of the stores that one process uses, reported in its log. */
export function openOutages(s3: S3, config: Config, log: Logger): Outages {
  return new Outages(s3, {
    limitMs: config.outageLimit,
    refusedLimitMs: config.refusedLimit,
    firstProbeMs: config.backoffMs,
    mostProbeMs: MAX_PROBE_FACTOR * config.backoffMs,
    log: (level, line) => log[level](line),
  });
}
