import { join } from "node:path";
import { startTestS3 } from "../../test/helpers/servers/s3-server.ts";
import type { BenchOptions } from "../options.ts";
import type { Collected } from "../report/collected.ts";
import { measureBesideBulk } from "./beside-bulk.ts";
import { measureEmptySlices } from "./empty-slices.ts";
import { measureLatency } from "./latency.ts";
import { measureMemory } from "./memory.ts";
import { measureThroughput } from "./throughput.ts";

const WITHOUT_S3 = { beside_bulk: measureBesideBulk, slices: measureEmptySlices, memory: measureMemory } as const;

/**
 * The service: each requested part, in its own folder.
 * @returns the S3 server's name and version, if one was started
 */
export async function measureService(
  collected: Collected,
  folder: string,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<{ s3?: string }> {
  const { parts } = options;
  const rest = [options, say, signal] as const;
  const versions: { s3?: string } = {};
  const withS3 = async () => {
    // Started when it is needed, before the processes that find its keys in the environment.
    await using s3 = await startTestS3();
    versions.s3 = s3.name.replace(/[ ,] ?[(w].*/, "");
    const place = { settings: s3.settings, bucket: await s3.makeBucket() };
    for (const [name, measure] of Object.entries({ latency: measureLatency, throughput: measureThroughput } as const))
      if (parts.has(name as "latency" | "throughput"))
        await collected.add("service", name, () => measure(join(folder, name), place, ...rest));
  };
  if (parts.has("latency") || parts.has("throughput")) await collected.try("S3", withS3);
  for (const [name, measure] of Object.entries(WITHOUT_S3))
    if (parts.has(name as keyof typeof WITHOUT_S3))
      await collected.add("service", name, () => measure(join(folder, name), ...rest));
  return versions;
}
