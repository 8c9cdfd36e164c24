import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import { type ErrorCode, LabelmillError } from "../errors.ts";
import { WorkerRegistry } from "../fleet/registry.ts";
import type { Logger } from "../logger.ts";
import type { Accepter } from "../producers/accept/accepter.ts";
import type { ServerSubmission } from "../producers/client/server-submission.ts";
import { HiddenStores } from "../producers/runs/hidden-stores.ts";
import { submitSpec } from "../producers/runs/submit-spec.ts";
import { RunLedger } from "../runs/ledger/ledger.ts";
import { DEFAULT_TOP_K } from "../schemas/job.ts";
import type { S3 } from "../storage/s3/s3.ts";
import type { AcceptedObject, EventSink } from "./handle-events.ts";

export type SinkDeps = {
  config: Config;
  log: Logger;
  redis: Redis;
  s3: S3;
  accepter: Accepter;
  /** The URI of the output of the server, which ends in `/`. */
  output: string;
};

/** Errors of a table that no later try changes. */
const OF_TABLE: ReadonlySet<ErrorCode> = new Set([
  ...(["INPUT_EMPTY", "INPUT_UNREADABLE", "INPUT_CODEC", "INPUT_NOT_FOUND", "RECORD_INVALID"] as const),
  ...(["COLUMN_NOT_FOUND", "COLUMN_AMBIGUOUS"] as const),
]);

/** Submits the objects of events through the accepter, as the routes of the API do. */
export class AcceptingSink implements EventSink {
  readonly #deps: SinkDeps;

  constructor(deps: SinkDeps) {
    this.#deps = deps;
  }

  async item({ run, owner, rule, uri: id, object }: AcceptedObject): Promise<undefined> {
    const { model, pin, labels, results, output, kind } = rule;
    const options = { model, pin, results, output, topK: Math.min(DEFAULT_TOP_K, labels) };
    const submission: ServerSubmission =
      kind === "image"
        ? { ...options, images: [{ id, image: id, object }] }
        : { ...options, texts: [{ id, textFile: id, object }] };
    await this.#deps.accepter.accept({ submission, owner, run });
  }

  async table({ run, owner, rule, uri }: AcceptedObject): Promise<string | undefined> {
    const { config, log, redis, s3, accepter } = this.#deps;
    const { pin, labels, column, output = this.#deps.output } = rule;
    const results = rule.results.filter((target) => target.to === "webhook");
    const spec = {
      kind: pin.task === "image-classification" ? "images" : "text",
      // In the name of an input, this is a pattern.
      inputs: [uri.replaceAll("*", "%2A")],
      ...(column === undefined ? {} : { column }),
    };
    const ledger = new RunLedger(redis);
    const { fileRoots, s3Roots, outputRoots, sliceItems, sliceBytes, events } = config;
    const bucket = `s3://${rule.match.bucket}/`;
    try {
      await submitSpec(
        spec,
        {
          ...{ s3, run, output, results, settings: { sliceItems, sliceBytes, events } },
          runs: { state: (id) => ledger.state(id), cancel: (id) => ledger.cancel(id) },
          queuePlan: (id, to) => accepter.acceptPlan({ run: id, output: to, owner }),
          hidden: new HiddenStores([]),
          workers: await new WorkerRegistry(redis).workers(),
          granted: { fileRoots, s3Roots: [...s3Roots, bucket], ...(outputRoots ? { outputRoots } : {}) },
          sharedFiles: false,
          choose: async () => ({ pin, labels }),
        },
        new AbortController().signal,
      );
      return undefined;
    } catch (error) {
      if (!(error instanceof LabelmillError) || !OF_TABLE.has(error.code)) throw error;
      log.warn({ rule: rule.name, run, err: error }, "table of an event cannot be labeled");
      return error.code;
    }
  }
}
