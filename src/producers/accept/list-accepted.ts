import { LabelmillError } from "../../errors.ts";
import { readRunFile } from "../../outputs/output.ts";
import type { RunIndex } from "../../runs/run-index.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import type { RedisProducer } from "../client/redis-producer.ts";

/** Lists an accepted run for its owner. @throws LabelmillError RUN_UNKNOWN, or the error of the Redis connection */
export async function listAccepted(index: RunIndex, producer: RedisProducer, record: Accepted): Promise<void> {
  const { run, owner, acceptedAt: submittedAt, kind } = record;
  if (kind === "single") {
    const { job, lane } = record;
    const { id, digest } = job.model;
    await index.set(run, { owner, kind, output: job.output, key: job.key, model: { id, digest }, lane, submittedAt });
    return;
  }
  const runFile = await readRunFile(await producer.openToRead(record.output));
  if (runFile?.run !== run) throw new LabelmillError("RUN_UNKNOWN", `${record.output} has no run ${run}`);
  const { id, digest } = runFile.spec.model;
  const { lane } = runFile.settings;
  await index.set(run, { owner, kind, output: record.output, model: { id, digest }, lane, submittedAt });
}
