import { describeAddress, type RedisAddress } from "../../redis/connect.ts";
import { reportOutages } from "../../redis/outages.ts";
import { duration } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Prints one line when the connection to Redis is lost (since when, why, what happens meanwhile), and one when it is back. */
export function sayOutages(
  redis: Parameters<typeof reportOutages>[0],
  address: RedisAddress,
  terminal: Terminal,
  meanwhile: string,
): void {
  reportOutages(redis, {
    lost: (why) => {
      const since = new Date().toISOString().slice(11, 19);
      terminal.say(`Redis at ${describeAddress(address)} is lost since ${since} UTC (${why}): ${meanwhile}`);
    },
    back: (seconds) => terminal.say(`Redis is back after ${duration(seconds)}`),
  });
}
