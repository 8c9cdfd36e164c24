import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import { queueName } from "../../schemas/names.ts";
import { deliveryIds } from "./run-deliveries.ts";

/** An accepted submission that has a record in the journal, as this process knows it. The record itself may have megabytes. */
export type PendingRun = {
  readonly run: string;
  /** When this process learned of the record, by `performance.now()`. */
  readonly since: number;
  /** The ids of its webhook deliveries. For a planned run, they are known when it has ended. */
  deliveries: readonly string[];
} & ({ readonly kind: "single"; readonly queue: string } | { readonly kind: "run"; readonly output: string });

export function pendingOf(record: Accepted): PendingRun {
  const common = { run: record.run, since: performance.now() };
  return record.kind === "run"
    ? { ...common, kind: "run", output: record.output, deliveries: [] }
    : {
        ...{ ...common, kind: "single", queue: queueName(record.job.model, record.lane) },
        deliveries: deliveryIds(record.run, record.job.results),
      };
}
