import pLimit from "p-limit";
import { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { deliveriesOf } from "../../runs/deliveries.ts";
import { LogThrottle } from "../../runs/queues/log-throttle.ts";
import type { WebhookQueue } from "../../runs/queues/webhook-queue.ts";
import type { Item } from "../../schemas/item.ts";
import type { Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { Outages } from "../../storage/health/outages.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { ifThere, storeErrorOf, placeOf as storePlaceOf } from "../../storage/store-error.ts";
import { committedEvent } from "../result-events.ts";
import type { OutputStores } from "../slice/output-stores.ts";
import type { DeliveryAttempt, StoredPart } from "../slice/process-slice.ts";
import type { WorkerGrants } from "../worker-grants.ts";
import { Counts, type Outcome } from "./delivery-counts.ts";
import { type ObjectPlace, placeOf } from "./object-place.ts";
import { sidecarOf, writeSidecar } from "./sidecar.ts";
import { writeTags } from "./tags.ts";

/** Objects of a job whose sidecars and tags are written at a time. */
const OBJECTS_AT_ONCE = 16;

export type DelivererDeps = {
  s3: S3;
  grants: Pick<WorkerGrants, "outputs" | "granted">;
  stores: OutputStores;
  webhooks: WebhookQueue;
  outages: Pick<Outages, "outageOf">;
  log: Logger;
};

type ObjectTarget = "sidecar" | "tags";

/**
 * Delivers the results of a job whose part is committed: sidecars and tags first, then webhooks are queued. Each of these
 * may be repeated. A store that is unavailable makes the job wait. Any other failure leaves the labels as they are: it is
 * logged and counted, because the part has the result and a repetition would fail in the same way.
 */
export class Deliverer {
  readonly counts = new Counts();
  readonly #deps: DelivererDeps;
  readonly #warnings = new LogThrottle();

  constructor(deps: DelivererDeps) {
    this.#deps = deps;
  }

  /** @throws the error of an unavailable store or Redis, or of a failure that another attempt may not meet */
  async deliver(job: Job, part: StoredPart, attempt: DeliveryAttempt): Promise<void> {
    const { results = [], items = [] } = job;
    const targets = results.map(({ to }) => to).filter((to) => to !== "webhook");
    const limit = pLimit(OBJECTS_AT_ONCE);
    if (targets.length > 0)
      await limit.map(part.rows, async (row, at) => {
        for (const to of targets) await this.#toObject(to, job, items[at]!, row, attempt);
      });
    for (const delivery of deliveriesOf(job, committedEvent(job, part))) await this.#deps.webhooks.add(delivery);
  }

  async #toObject(to: ObjectTarget, job: Job, item: Item, row: Row, attempt: DeliveryAttempt): Promise<void> {
    const uri = item.image ?? item.textFile;
    // A record in error names no object. An object that was replaced has no result: that of its new version follows.
    if (uri === undefined || ("error" in row && row.error.code === "INPUT_CHANGED")) return;
    let outcome: Outcome | undefined;
    try {
      const place = placeOf(uri);
      outcome = await (to === "sidecar" ? this.#sidecar(job, item, row, place) : this.#tag(item, row, place, uri));
    } catch (error) {
      await this.#rethrowIfTemporary(error, job, attempt);
      return this.#refused(to, uri, error as LabelmillError, job.run);
    }
    if (outcome) this.counts.add(to, outcome);
    if (outcome === "full") this.#warnFull(uri);
  }

  async #sidecar(job: Job, item: Item, row: Row, place: ObjectPlace): Promise<Outcome> {
    await this.#checkGrant(place.folder);
    const store = await this.#deps.stores.open(place.folder);
    const { s3 } = this.#deps;
    const at = place.s3;
    // A file has no versions.
    const current = async () => at && ifThere(() => s3.head(at));
    return writeSidecar({ store, key: place.sidecar }, sidecarOf(job, item, row, new Date()), current);
  }

  /** @returns undefined for a row without a label */
  async #tag({ object = {} }: Item, row: Row, place: ObjectPlace, uri: string): Promise<Outcome | undefined> {
    await this.#checkGrant(uri);
    return "error" in row ? undefined : writeTags(this.#deps.s3, place.s3!, object, row);
  }

  /** Without its own setting, the right to write outputs is the right to read: it is not enough to write beside inputs. */
  async #checkGrant(uri: string): Promise<void> {
    const { outputs, granted } = this.#deps.grants;
    const error = granted.outputRoots === undefined ? undefined : await outputs.check(uri).catch((thrown) => thrown);
    if (granted.outputRoots !== undefined && error === undefined) return;
    if (error instanceof LabelmillError && error.code !== "NOT_GRANTED") throw error;
    const message = `${uri}: sidecars and tags are written only where --output-roots grants it explicitly: add the folder or prefix to --output-roots (LABELMILL_OUTPUT_ROOTS)`;
    throw new LabelmillError("NOT_GRANTED", message, { cause: error });
  }

  async #rethrowIfTemporary(error: unknown, job: Job, { signal, isLast }: DeliveryAttempt): Promise<void> {
    signal.throwIfAborted();
    if (!(error instanceof LabelmillError)) throw error;
    const trouble = storeErrorOf(error)?.trouble;
    // A right that is missing for one key is not an outage: it would block the job until someone grants it.
    const mayEnd = trouble !== undefined && (trouble.kind === "outage" || trouble.certain);
    const outage = mayEnd ? await this.#deps.outages.outageOf(error, job.output) : undefined;
    if (outage && !outage.givenUp) throw error;
    if (error.retryable && !isLast) throw error;
  }

  #refused(to: ObjectTarget, uri: string, { code, message }: LabelmillError, run: string): void {
    this.counts.refuse(to, { uri, code, message });
    this.#warnings.log(`${to} ${code} ${storePlaceOf(uri)}`, 1, (times) =>
      this.#deps.log.warn({ run, to, uri, code, why: message, times }, "result not written to its object"),
    );
  }

  #warnFull(uri: string): void {
    const bucket = storePlaceOf(uri);
    this.#warnings.log(`full ${bucket}`, 1, (objects) =>
      this.#deps.log.warn({ bucket, objects, uri }, "objects have ten tags already: not all tags of the label fit"),
    );
  }
}
