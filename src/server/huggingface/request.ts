import { z } from "zod";
import type { Task } from "../../schemas/task.ts";
import { Problem } from "../problems.ts";

/** The most texts of one request. */
const MAX_TEXTS = 500;
/** Labels of a text or an image if the request does not say how many, as the servers of Hugging Face answer. */
const DEFAULT_TOP_K = 5;

/** Clients in some languages send `null` for what is not set. */
const ParametersSchema = z.strictObject({
  top_k: z.int().min(1).max(1000).nullish().describe("The number of labels, best first. Default: 5."),
  function_to_apply: z
    .literal("softmax", "expected softmax: the logits are not kept, so sigmoid and none are not available")
    .nullish()
    .describe("Scores are always the softmax over all labels of the model."),
});

const OptionsSchema = z.strictObject({
  wait_for_model: z.boolean().nullish().describe("Wait up to 100 seconds, as with `x-wait-for-model: true`."),
  use_cache: z.boolean().nullish().describe("No effect: every request is labeled."),
  use_gpu: z.boolean().nullish().describe("No effect: the worker decides where the model runs."),
});

/** The JSON of a request, for both tasks. */
export const HfBodySchema = z
  .strictObject({
    inputs: z
      .union([z.string(), z.array(z.string()).min(1).max(MAX_TEXTS)], "expected a string, or 1 to 500 strings")
      .describe("A text, or texts. For a model of images: one image, in base64."),
    parameters: ParametersSchema.nullish(),
    options: OptionsSchema.nullish(),
  })
  .meta({ id: "HuggingFaceRequest" });
export type HfBody = z.infer<typeof HfBodySchema>;

/** What a request asks for. */
export type HfRequest = {
  content: { texts: readonly string[] } | { image: Uint8Array };
  topK: number;
  /** The caller waits longer for the model. */
  waitForModel: boolean;
};

/**
 * Reads a body as a model of this task needs it. The content type decides only whether a body is JSON: as on the servers of
 * Hugging Face, the clients send images with any type or none.
 * @param body parsed and checked JSON, or the bytes of a body with another content type
 * @throws Problem 400
 */
export function readHfRequest(task: Task, body: HfBody | Uint8Array | undefined): HfRequest {
  if (task === "image-classification" && body instanceof Uint8Array) {
    if (body.length === 0) throw emptyBody("the bytes of an image");
    return { content: { image: body }, topK: DEFAULT_TOP_K, waitForModel: false };
  }
  const { inputs, parameters, options } = body instanceof Uint8Array || !body ? parse(body) : body;
  const wish = {
    topK: parameters?.top_k ?? DEFAULT_TOP_K,
    waitForModel: options?.wait_for_model ?? false,
  };
  if (task === "image-classification") return { content: { image: decode(inputs) }, ...wish };
  return { content: { texts: typeof inputs === "string" ? [inputs] : inputs }, ...wish };
}

/** `curl -d` sends JSON as a form, and some clients send no content type. */
function parse(body: Uint8Array | undefined): HfBody {
  if (!body || body.length === 0) throw emptyBody('JSON such as {"inputs": "a text"}');
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw invalid('body: expected JSON such as {"inputs": "a text"}, got something else');
  }
  const parsed = HfBodySchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw invalid(`${path.join(".") || "body"}: ${message}`);
}

/** An image in base64, alone or as a data URL. Node would pass over other characters silently. */
function decode(inputs: string | readonly string[]): Uint8Array {
  if (typeof inputs !== "string") throw invalid("inputs: expected one image in base64, got a list");
  const base64 = /^data:[^,]{0,200};base64,/.test(inputs) ? inputs.slice(inputs.indexOf(",") + 1) : inputs;
  if (base64 === "" || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(base64))
    throw invalid("inputs: expected an image in base64, got another text");
  return Buffer.from(base64, "base64");
}

function emptyBody(expected: string): Problem {
  return invalid(`body: expected ${expected}, got an empty body`);
}

function invalid(detail: string): Problem {
  return new Problem(400, "REQUEST_INVALID", detail);
}
