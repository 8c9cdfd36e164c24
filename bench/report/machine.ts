import { readFileSync } from "node:fs";
import { cpus, loadavg, platform, release, totalmem } from "node:os";
import { CORES } from "../../src/config.ts";
import { SOFTWARE } from "../../src/software.ts";

export type Machine = {
  cpu: string;
  cores: number;
  memoryGiB: number;
  system: string;
  /** Processes that wanted to run, on average over the minute before the benchmark. */
  loadBefore: number;
};

/** By package; `redis` and `s3` are the servers'. */
export type Versions = Record<string, string>;

const SHOWN = ["onnxruntime-node", "bullmq", "ioredis", "@aws-sdk/client-s3", "sharp"];

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: CORES,
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    system: `${platform()} ${release()}`,
    loadBefore: Math.round(loadavg()[0]! * 10) / 10,
  };
}

/** Dependencies are exact, so they are what is installed. */
export function describeVersions(servers: { redis: string; s3?: string }): Versions {
  const { dependencies } = readJson("../../package.json");
  const peers = readJson("../peers/package.json");
  const [name, version] = SOFTWARE.split(" ");
  return {
    [name!]: version!,
    node: process.versions.node,
    ...Object.fromEntries(SHOWN.map((each) => [each, dependencies[each]!])),
    ...peers.dependencies,
    ...servers,
  };
}

function readJson(path: string): { dependencies: Record<string, string> } {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
}
