import assert from "node:assert/strict";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { labelsOfRows, problemOfFailure } from "../../../src/server/huggingface/answer.ts";
import { HfBodySchema, readHfRequest } from "../../../src/server/huggingface/request.ts";
import { Problem } from "../../../src/server/problems.ts";

const TEXT = "text-classification";
const IMAGE = "image-classification";
const source = { uri: "submitted:", record: 0 };
const GOOD = { id: "#0", label: "A", score: 0.75, labels: [{ label: "A", score: 0.75 }], source };

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function refusal(detail: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof Problem, String(error));
    assert.equal(error.status, 400);
    assert.equal(error.code, "REQUEST_INVALID");
    assert.match(error.message, detail);
    return true;
  };
}

test("one text and several texts are read alike, with five labels if the request does not say how many", () => {
  const wish = { topK: 5, waitForModel: false };
  assert.deepEqual(readHfRequest(TEXT, { inputs: "a" }), { content: { texts: ["a"] }, ...wish });
  assert.deepEqual(readHfRequest(TEXT, { inputs: ["a", "b"] }), { content: { texts: ["a", "b"] }, ...wish });
  const asked = { inputs: "a", parameters: { top_k: 2 }, options: { wait_for_model: true } };
  assert.deepEqual(readHfRequest(TEXT, asked), { content: { texts: ["a"] }, topK: 2, waitForModel: true });
  const unset = { inputs: "a", parameters: { top_k: null, function_to_apply: null }, options: null };
  assert.deepEqual(readHfRequest(TEXT, HfBodySchema.parse(unset)), { content: { texts: ["a"] }, ...wish });
});

test("JSON without its content type is read too", () => {
  const read = readHfRequest(TEXT, bytes('{"inputs": "näive", "parameters": {"top_k": 1}}'));
  assert.deepEqual(read, { content: { texts: ["näive"] }, topK: 1, waitForModel: false });
  assert.throws(() => readHfRequest(TEXT, bytes("great product")), refusal(/^body: expected JSON such as/));
  assert.throws(() => readHfRequest(TEXT, Uint8Array.of(0x22, 0xff, 0x22)), refusal(/^body: expected JSON/));
  assert.throws(() => readHfRequest(TEXT, bytes("")), refusal(/got an empty body$/));
  assert.throws(() => readHfRequest(TEXT, undefined), refusal(/got an empty body$/));
  assert.throws(() => readHfRequest(TEXT, bytes('{"inputs": 1}')), refusal(/^inputs: expected a string, or/));
  assert.throws(() => readHfRequest(TEXT, bytes('{"inputs": "a", "stream": true}')), refusal(/^body: .*"stream"/));
  assert.throws(() => readHfRequest(TEXT, bytes("null")), refusal(/^body: /));
});

test("parameters that cannot be honored are refused", () => {
  const messages = (parameters: unknown) => {
    const { error } = HfBodySchema.safeParse({ inputs: "a", parameters });
    return error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`) ?? [];
  };
  assert.deepEqual(messages({ function_to_apply: "softmax" }), []);
  const softmax = /^parameters.function_to_apply: expected softmax: the logits are not kept/;
  for (const name of ["sigmoid", "none", "default", 1])
    assert.match(messages({ function_to_apply: name })[0]!, softmax);
  for (const top_k of [0, -1, 1.5, "2", 1001]) assert.match(messages({ top_k })[0]!, /^parameters.top_k: /);
  assert.match(messages({ return_all_scores: true })[0]!, /^parameters: .*return_all_scores/);
  for (const inputs of [[], ["a", 1], Array(501).fill("a"), { text: "a" }, undefined])
    assert.equal(HfBodySchema.safeParse({ inputs }).success, false);
  assert.equal(HfBodySchema.safeParse({ inputs: Array(500).fill("a") }).success, true);
});

test("an image is read from its bytes, from base64 and from a data URL", () => {
  const image = Uint8Array.of(0xff, 0xd8, 0xff, 0x00);
  const base64 = Buffer.from(image).toString("base64");
  const imageOf = (body: Parameters<typeof readHfRequest>[1]) => {
    const { content, topK } = readHfRequest(IMAGE, body);
    assert.ok("image" in content);
    return { bytes: [...content.image], topK };
  };
  assert.deepEqual(imageOf(image), { bytes: [...image], topK: 5 });
  assert.deepEqual(imageOf({ inputs: base64, parameters: { top_k: 3 } }), { bytes: [...image], topK: 3 });
  assert.deepEqual(imageOf({ inputs: `data:image/jpeg;base64,${base64}` }), { bytes: [...image], topK: 5 });
  const invalid = refusal(/^inputs: expected an image in base64, got another text$/);
  for (const inputs of ["", "a", "ab=c", "äöü=", "data:image/png,ab", "https://example.com/a.jpg", "_-__"])
    assert.throws(() => readHfRequest(IMAGE, { inputs }), invalid, inputs);
  assert.throws(() => readHfRequest(IMAGE, { inputs: [base64] }), refusal(/got a list$/));
  assert.throws(() => readHfRequest(IMAGE, Uint8Array.of()), refusal(/^body: expected the bytes of an image, got an/));
});

test("rows become labels, and the first row in error refuses the request", () => {
  assert.deepEqual(labelsOfRows([GOOD, GOOD]), [GOOD.labels, GOOD.labels]);
  const bad = { id: "#1", error: { code: "EMPTY_TEXT", message: "expected a text" }, source };
  assert.throws(() => labelsOfRows([bad]), { code: "EMPTY_TEXT", message: "expected a text" });
  assert.throws(() => labelsOfRows([GOOD, bad]), { code: "EMPTY_TEXT", message: "inputs[1]: expected a text" });
  const newer = { ...bad, error: { code: "OF_A_NEWER_WORKER", message: "why" } };
  assert.throws(() => labelsOfRows([newer]), { code: "ITEM_FAILED", message: "why" });
});

test("a failed job is answered with 503 if a later try may succeed, else with 500", () => {
  const of = (code: string) => {
    const problem = problemOfFailure({ code, message: "why" });
    assert.ok(problem instanceof LabelmillError);
    return [problem.status, problem.code, problem.message];
  };
  assert.deepEqual(of("INFERENCE_FAILED"), [503, "INFERENCE_FAILED", "why"]);
  assert.deepEqual(of("SLICE_CRASHED_WORKER"), [500, "SLICE_CRASHED_WORKER", "why"]);
  assert.deepEqual(of("OF_A_NEWER_WORKER"), [500, "RUN_FAILED", "why"]);
});
