import { join } from "node:path";
import { startTestS3 } from "../../test/helpers/servers/s3-server.ts";
import { measureConnections } from "../http/connections.ts";
import { measureOneText } from "../http/one-text.ts";
import { measureUploads } from "../http/uploads.ts";
import { installPeers } from "../inputs/peers.ts";
import type { BenchOptions } from "../options.ts";
import type { Collected } from "../report/collected.ts";
import { measureBesideBulk } from "./beside-bulk.ts";
import { measureEmptySlices } from "./empty-slices.ts";
import { measureLatency } from "./latency.ts";
import { measureMemory } from "./memory.ts";
import { measureThroughput } from "./throughput.ts";

const WITH_S3 = { latency: measureLatency, throughput: measureThroughput, uploads: measureUploads } as const;
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
    for (const [name, measure] of Object.entries(WITH_S3))
      if (parts.has(name as keyof typeof WITH_S3))
        await collected.add("service", name, () => measure(join(folder, name), place, ...rest));
  };
  if (Object.keys(WITH_S3).some((name) => parts.has(name as keyof typeof WITH_S3))) await collected.try("S3", withS3);
  for (const [name, measure] of Object.entries(WITHOUT_S3))
    if (parts.has(name as keyof typeof WITHOUT_S3))
      await collected.add("service", name, () => measure(join(folder, name), ...rest));
  if (parts.has("http_one_text"))
    await collected.add("service", "http_one_text", () => measureOneText(join(folder, "http_one_text"), ...rest));
  if (parts.has("http_connections")) {
    const peers = await installPeers(say, signal);
    if ("missing" in peers) collected.missing.push(peers.missing);
    const packages = "folder" in peers ? peers.folder : undefined;
    const part = () => measureConnections(join(folder, "http_connections"), packages, ...rest);
    await collected.add("service", "http_connections", part);
  }
  return versions;
}
