import type { Logger } from "../../logger.ts";
import type { RunIndex } from "../../runs/run-index.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import type { ResultTarget } from "../../schemas/enrichment/target.ts";
import type { RedisProducer } from "../client/redis-producer.ts";
import type { Run } from "../client/run.ts";
import type { ServerSubmission } from "../client/server-submission.ts";
import type { Single } from "../client/single.ts";
import type { Keeper, Replayed } from "./keeper.ts";
import { listAccepted } from "./list-accepted.ts";

/** A submission to accept. */
export type Acceptable = {
  submission: ServerSubmission;
  /** The id of the API key, `rule:NAME` for a bucket rule, `-` on a server without keys. */
  owner: string;
  /** The id of the run, if it follows from the submission: submitting it again finds the first run. Default: a random one. */
  run?: string | undefined;
  /** No run has the given id yet, so its end is not looked for: that takes a request to the store. Default: false. */
  isNew?: boolean | undefined;
};

/** A submission that is queued and not kept. */
export type Started = {
  run: Run;
  /** Makes it survive, as `accept` does. */
  keep(): Promise<void>;
  /** Removes it from the queue, unless a worker has taken it. For a caller that waits no longer. */
  withdraw(): Promise<void>;
};

export type AccepterDeps = {
  producer: RedisProducer;
  index: RunIndex;
  keeper: Keeper;
  /** Throws for a target that this server cannot deliver to. */
  checkTargets(targets: readonly ResultTarget[]): void;
  log: Logger;
};

/**
 * Accepts submissions for a server. What it accepted is labeled, whatever process dies afterwards: `keeper` says by what.
 */
export class Accepter {
  readonly #deps: AccepterDeps;

  constructor(deps: AccepterDeps) {
    this.#deps = deps;
  }

  /**
   * Queues a submission without keeping it: for a caller that waits for the rows, and asks again if it gets none. `keep` makes it survive;
   * call it before the answer 202. `run.wait()` does not settle after that.
   * @throws LabelmillError as {@link RedisProducer.prepare} and `submit`; WEBHOOK_UNKNOWN, WEBHOOK_UNSIGNED, URL_REFUSED for a target
   */
  async start({ submission, owner, run, isNew }: Acceptable): Promise<Started> {
    const { producer, keeper } = this.#deps;
    const single = await this.#prepare(submission, run);
    if (run !== undefined && !isNew && (await producer.endOf(single)))
      return { run: producer.watch(single), keep: async () => {}, withdraw: async () => {} };
    const started = await producer.start(single);
    const keep = async () => {
      const record = recordOf(single, owner);
      await keeper.keepQueued(record);
      await this.#list(record);
      started.release();
    };
    return { run: started, keep, withdraw: () => started.withdraw() };
  }

  /**
   * Accepts a submission. Resolves when it survives the death of every process.
   * @returns the run. It costs nothing until it is waited for
   * @throws LabelmillError as `start`; STORE_FAILED, ACCEPT_UNCONFIRMED
   */
  async accept({ submission, owner, run, isNew }: Acceptable): Promise<Run> {
    const { producer, keeper } = this.#deps;
    const single = await this.#prepare(submission, run);
    if (run === undefined || isNew || !(await producer.endOf(single))) {
      const record = recordOf(single, owner);
      await keeper.keep(record, () => producer.enqueue(single));
      await this.#list(record);
    }
    return producer.watch(single);
  }

  /**
   * Accepts a planned run whose `_run.json` is in its output, and queues its planning.
   * @throws LabelmillError RUN_UNKNOWN if the output has no such run; else as `accept`
   */
  async acceptPlan({ run, output, owner }: { run: string; output: string; owner: string }): Promise<void> {
    const { producer, keeper } = this.#deps;
    const record: Accepted = { v: 1, kind: "run", run, acceptedAt: new Date().toISOString(), owner, output };
    await keeper.keep(record, () => producer.enqueuePlan(run, output));
    await this.#list(record);
  }

  /**
   * Queues again what Redis lost, and keeps no longer what has ended. Done at the start, on a timer, and when Redis is back.
   * @throws LabelmillError the error of Redis or of the store. A later call continues
   */
  replay(signal: AbortSignal): Promise<Replayed> {
    return this.#deps.keeper.replay(signal);
  }

  /** Notes that a webhook of a run was delivered, or never will be: the run is kept until then. Any number of times. */
  settleDelivery(run: string, deliveryId: string): Promise<void> {
    return this.#deps.keeper.settleDelivery(run, deliveryId);
  }

  /** Ends the timers. What was accepted stays kept. */
  close(): Promise<void> {
    return this.#deps.keeper.close();
  }

  async #prepare(submission: ServerSubmission, run: string | undefined): Promise<Single> {
    this.#deps.checkTargets(submission.results ?? []);
    return await this.#deps.producer.prepare({ ...submission, run });
  }

  /** Lists an accepted run for its owner. The run is safe by then: a list in Redis may lack it. */
  async #list(record: Accepted): Promise<void> {
    const { index, producer, log } = this.#deps;
    try {
      await listAccepted(index, producer, record);
    } catch (error) {
      log.warn({ run: record.run, err: error }, "accepted run not listed: Redis did not take it");
    }
  }
}

function recordOf({ job, lane }: Single, owner: string): Accepted {
  return { v: 1, kind: "single", run: job.run, acceptedAt: new Date().toISOString(), owner, lane, job };
}
