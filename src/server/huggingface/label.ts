import { abortable } from "../../abortable.ts";
import type { Started } from "../../producers/accept/accepter.ts";
import type { Run } from "../../producers/client/run.ts";
import type { ServerSubmission } from "../../producers/client/server-submission.ts";
import type { ImageItem, TextItem } from "../../producers/client/submission.ts";
import type { LabelScore, Row } from "../../schemas/row.ts";
import type { Task } from "../../schemas/task.ts";
import type { ServerDeps } from "../deps.ts";
import { checkTextBytes } from "../label/text-bytes.ts";
import { Upload } from "../label/uploads.ts";
import { admit } from "../limits/admit.ts";
import type { DeclaredModel } from "../models/declared-models.ts";
import { labelsOfRows, problemOfFailure } from "./answer.ts";
import { Patience } from "./patience.ts";
import { type HfBody, readHfRequest } from "./request.ts";

/** How long a request with `wait_for_model` waits for its labels. The server closes connections that are silent for longer. */
const MODEL_WAIT_MS = 100_000;

type Items = { texts: readonly TextItem[] } | { images: readonly ImageItem[] };

/** A request of the protocol. */
export type HfCall = {
  /** Default: the default model for the kind of the body. */
  model: string | undefined;
  /** Parsed and checked JSON, or the bytes of another content type. */
  body: HfBody | Uint8Array | undefined;
  /** The header `x-wait-for-model`. */
  waitForModel: boolean;
  owner: string;
};

/**
 * Labels as the servers of Hugging Face answer: for texts the labels of each text, for an image its labels. The job has no
 * record in the journal: the caller waits for the answer, and sends the request again without one.
 * @param left aborts when the caller has closed the connection
 * @throws LabelmillError, also for the first row in error
 */
export async function labelForHf(
  { model: name, body, waitForModel, owner }: HfCall,
  deps: ServerDeps,
  left: AbortSignal,
): Promise<LabelScore[][] | LabelScore[]> {
  const model = name === undefined ? defaultFor(body, deps) : await modelNamed(name, deps);
  await admit(deps, model.pin);
  const { content, topK, ...request } = readHfRequest(model.pin.task, body);
  const waitMs = waitForModel || request.waitForModel ? MODEL_WAIT_MS : deps.config.requestWait;
  const label = async (items: Items) => {
    const submission: ServerSubmission = {
      ...{ model: model.name, pin: model.pin, topK: Math.min(topK, model.labels), lane: "interactive", events: "none" },
      ...items,
    };
    const started = await deps.accepter.start({ submission, owner });
    return labelsOfRows(await rowsInTime(started, model, waitMs, deps, left));
  };
  if ("texts" in content) {
    checkTextBytes(content.texts);
    return label({ texts: content.texts });
  }
  const upload = new Upload(deps.store);
  try {
    return (await label({ images: [await upload.add(0, content.image)] }))[0]!;
  } finally {
    // No run on record needs the image. If it cannot be removed, it is an old upload later.
    await upload.remove().catch((err: unknown) => deps.log.debug({ err }, "uploaded image not removed"));
  }
}

/** A declared model, or one that workers serve. The protocol names a repository of the hub without our prefix. */
async function modelNamed(name: string, { models, producer }: ServerDeps): Promise<DeclaredModel> {
  const declared = models.find(name) ?? models.find(`hf:${name}`);
  if (declared) return declared;
  return { name, ...(await producer.find(name)) };
}

/** The default model for a body: JSON may be texts, other bytes are an image, if models for both are declared. */
function defaultFor(body: HfCall["body"], { models }: ServerDeps): DeclaredModel {
  const task: Task = body instanceof Uint8Array ? "image-classification" : "text-classification";
  return models.all.some(({ pin }) => pin.task === task) ? models.default(task) : models.default();
}

/** The rows of the run. A run that has no rows in time is withdrawn from its queue: no caller would read them. */
async function rowsInTime(
  { run, withdraw }: Started,
  model: DeclaredModel,
  waitMs: number,
  deps: ServerDeps,
  left: AbortSignal,
): Promise<readonly Row[]> {
  const { stopping, config } = deps;
  using patience = new Patience({ waitMs, left, stopping, graceMs: config.graceMs, what: `labels of ${model.name}` });
  try {
    return await abortable(rowsOf(run), patience.signal);
  } catch (error) {
    if (patience.signal.aborted) void withdraw().catch((err: unknown) => deps.log.debug({ err }, "job not withdrawn"));
    throw error;
  }
}

async function rowsOf(run: Run): Promise<Row[]> {
  const { failed } = await run.wait();
  if (failed) throw problemOfFailure(failed);
  return Array.fromAsync(run.rows());
}
