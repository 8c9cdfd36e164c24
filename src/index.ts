/**
 * The public interface of the package: everything that `import … from "labelmill"` gives.
 *
 * @packageDocumentation
 */
// First: it ends the import on a Node that is too old, before anything else is loaded.
import "./node-version.ts";

export { ERROR_CODES, type ErrorCode, LabelmillError } from "./errors.ts";
export { createProducer } from "./producers/client/create-producer.ts";
export type { Producer } from "./producers/client/producer.ts";
export type { ProducerOptions } from "./producers/client/producer-options.ts";
export type { Run, RunResult } from "./producers/client/run.ts";
export type {
  ImageFields,
  ImageItem,
  ItemFields,
  Submission,
  SubmissionOptions,
  TextFields,
  TextItem,
} from "./producers/client/submission.ts";
export { type Failure, type LabelEvent, parseEvent } from "./schemas/event.ts";
export type { ItemError } from "./schemas/item.ts";
export type { ErrorRow, LabeledRow, LabelScore, Row, Source as RowSource } from "./schemas/row.ts";
export type { ModelPin } from "./schemas/run.ts";
