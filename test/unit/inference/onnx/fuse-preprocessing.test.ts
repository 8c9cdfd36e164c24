import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LabelmillError } from "../../../../src/errors.ts";
import { fusePreprocessing } from "../../../../src/inference/onnx/fuse-preprocessing.ts";
import { bytesOf, numberOf, readFields } from "../../../../src/inference/onnx/protobuf.ts";
import { FLOAT, field, valueInfo } from "../../../helpers/models/onnx.ts";
import { FLOAT16, type PixelModel, pixelModel, recipeOf } from "../../../helpers/models/pixel-model.ts";

const SIZE = { width: 7, height: 5 };
const RECIPE = recipeOf(SIZE.width, SIZE.height);

const fuse = (changes: Partial<PixelModel> = {}) => fusePreprocessing(pixelModel({ ...SIZE, ...changes }), RECIPE);
const graphOf = (model: Uint8Array) => bytesOf(model, 7)[0]!;
const texts = (message: Uint8Array, number: number) =>
  bytesOf(message, number).map((bytes) => Buffer.from(bytes).toString());

/** `Type(inputs) → outputs {attributes}` of each node: integers, and the values of tensors. */
function nodesOf(model: Uint8Array): string[] {
  return bytesOf(graphOf(model), 1).map((node) => {
    const attributes = bytesOf(node, 5).map((attribute) => {
      const ints = [...readFields(attribute)].filter(({ number }) => number === 8).map(({ value }) => value);
      const [raw] = bytesOf(attribute, 5).flatMap((tensor) => bytesOf(tensor, 9));
      const values = raw && Array.from({ length: raw.length / 4 }, (_, at) => Buffer.from(raw).readFloatLE(at * 4));
      return `${texts(attribute, 1)[0]} ${values ?? (ints.length > 0 ? ints : (numberOf(attribute, 3) ?? "float"))}`;
    });
    return `${texts(node, 4)[0]}(${texts(node, 1)}) → ${texts(node, 2)} {${attributes.join()}}`;
  });
}

/** `name elements [dimensions]` of each input. */
function inputsOf(model: Uint8Array): string[] {
  return bytesOf(graphOf(model), 11).map((input) => {
    const tensor = bytesOf(bytesOf(input, 2)[0]!, 1)[0]!;
    const dims = bytesOf(bytesOf(tensor, 2)[0]!, 1).map((dim) => numberOf(dim, 1) ?? texts(dim, 2)[0]);
    return `${texts(input, 1)[0]} ${numberOf(tensor, 1)} [${dims.join(", ")}]`;
  });
}

function invalid(bytes: Uint8Array, message: RegExp): void {
  assert.throws(() => fusePreprocessing(bytes, RECIPE), isInvalid(message));
}

function isInvalid(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof LabelmillError, String(error));
    assert.equal(error.code, "MODEL_INVALID");
    assert.match(error.message, message);
    return true;
  };
}

const float32 = (values: number[]) => values.map(Math.fround).join();
const SCALE = float32([1 / 255 / 0.229, 1 / 255 / 0.224, 1 / 255 / 0.225]);
const BIAS = float32([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]);

describe("fusePreprocessing", () => {
  it("inserts the preprocessing before the model's nodes", () => {
    const fused = fuse();
    assert.deepEqual(nodesOf(fused), [
      `Constant() → pixels/scale {value ${SCALE}}`,
      `Constant() → pixels/bias {value ${BIAS}}`,
      "Constant() → pixels/zeros {value 0,0,0}",
      "Constant() → pixels/ones {value 1,1,1}",
      "Transpose(pixels) → pixels/planes {perm 0,3,1,2}",
      "Cast(pixels/planes) → pixels/floats {to 1}",
      "BatchNormalization(pixels/floats,pixels/scale,pixels/bias,pixels/zeros,pixels/ones) → pixel_values {epsilon float}",
      ...nodesOf(pixelModel(SIZE)),
    ]);
    assert.deepEqual(inputsOf(fused), ["pixels 2 [batch, 5, 7, 3]"]);
  });

  it("casts to float16 if the model needs it", () => {
    const nodes = nodesOf(fuse({ elements: FLOAT16 }));
    assert.match(nodes[6]!, /^BatchNormalization\(.*\) → pixels\/normalized /);
    assert.equal(nodes[7], "Cast(pixels/normalized) → pixel_values {to 10}");
  });

  it("keeps the model's batch dimension, fixed or named, and adds one if the shape is missing", () => {
    const { width, height } = SIZE;
    assert.deepEqual(inputsOf(fuse({ dims: [4, 3, height, width] })), ["pixels 2 [4, 5, 7, 3]"]);
    assert.deepEqual(inputsOf(fuse({ dims: ["n", "c", "h", "w"] })), ["pixels 2 [n, 5, 7, 3]"]);
    assert.deepEqual(inputsOf(fuse({ dims: null })), ["pixels 2 [batch, 5, 7, 3]"]);
  });

  it("keeps weights among the inputs", () => {
    const inputs = inputsOf(fuse({ weightsAmongInputs: true, irVersion: 3 }));
    assert.deepEqual(inputs, ["pixels 2 [batch, 5, 7, 3]", "weights 1 [105, 5]"]);
  });

  it("uses names that the model does not have", () => {
    assert.deepEqual(inputsOf(fuse({ hidden: "pixels" })), ["pixels_ 2 [batch, 5, 7, 3]"]);
    assert.deepEqual(inputsOf(fuse({ hidden: "pixels___/planes" })), ["pixels____ 2 [batch, 5, 7, 3]"]);
  });

  it("keeps everything else byte for byte, also unknown fields", () => {
    // Every encoding of a field, with numbers that ONNX does not use. A group contains another one.
    const unknown = Buffer.concat([
      field(900, 2 ** 40),
      field(901, "unknown"),
      Buffer.from("b138deadbeefdeadbeef", "hex"),
      Buffer.from("b538cafebabe", "hex"),
      Buffer.from("ab38b3380801b438ac38", "hex"),
    ]);
    const extra = { model: unknown, graph: unknown, input: field(3, "documented") };
    const model = pixelModel({ ...SIZE, weightsAmongInputs: true, extra });
    const fused = fusePreprocessing(model, RECIPE);

    const parts = (message: Uint8Array) =>
      [...readFields(message)].map(({ start, end }) => Buffer.from(message.subarray(start, end)).toString("hex"));
    assert.ok(parts(model).length === 8 && parts(fused).length === 8, "three fields, and five that are unknown");
    assert.deepEqual(parts(fused).toSpliced(1, 1), parts(model).toSpliced(1, 1));

    const [before, after] = [parts(graphOf(model)), parts(graphOf(fused)).slice(7)];
    const changed = before.flatMap((part, at) => (part === after[at] ? [] : [at]));
    assert.equal(after.length, before.length);
    assert.deepEqual(
      changed.map((at) => before[at]!.slice(0, 2)),
      ["5a"],
      "the input, and nothing else",
    );
  });

  it("does not change its input", () => {
    const model = pixelModel(SIZE);
    const copy = Buffer.from(model);
    fusePreprocessing(model, RECIPE);
    assert.ok(model.equals(copy));
  });

  it("reports why a model cannot be fused", () => {
    const { width, height } = SIZE;
    const of = (changes: Partial<PixelModel>) => pixelModel({ ...SIZE, ...changes });
    invalid(of({ opset: 6 }), /expected opset 7 or newer, got opset 6/);
    invalid(of({ elements: 2 }), /the input "pixel_values" to be float32 or float16, got uint8/);
    invalid(of({ elements: 7 }), /the input "pixel_values" to be float32 or float16, got elements of ONNX's type 7/);
    invalid(
      of({ dims: ["batch", 3, width, height] }),
      /to be \[batch, 3, 5, 7\], as in the recipe, got \[any, 3, 7, 5\]/,
    );
    invalid(of({ dims: ["batch", height, width, 3] }), /got \[any, 5, 7, 3\]/);
    invalid(of({ dims: ["batch", 1, height, width] }), /got \[any, 1, 5, 7\]/);
    invalid(of({ dims: ["batch", 3] }), /got \[any, 3\]/);
    const mask = valueInfo("pixel_mask", FLOAT, ["batch"]);
    invalid(of({ extraInputs: [mask] }), /expected one input, such as pixel_values, got "pixel_values", "pixel_mask"/);
    invalid(Buffer.alloc(0), /expected an ONNX model with one graph, got 0/);
    const model = of({});
    invalid(Buffer.concat([model, model]), /expected an ONNX model with one graph, got 2/);
  });
});

describe("fusePreprocessing of damaged files", () => {
  const model = pixelModel({ ...SIZE, labels: 2 });

  /** Whether the bytes were fused. Checks that any error is MODEL_INVALID. */
  function survives(bytes: Uint8Array): boolean {
    try {
      fusePreprocessing(bytes, RECIPE);
      return true;
    } catch (error) {
      return !isInvalid(/^expected .+, got .+/)(error);
    }
  }

  it("refuses a file that is truncated at any position", () => {
    for (let length = 0; length < model.length; length++)
      assert.equal(survives(model.subarray(0, length)), false, `${length}`);
    assert.equal(survives(model), true);
  });

  it("refuses noise, and never fails with another error if bytes are changed", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => assert.equal(survives(bytes), false)));
    const changes = fc.array(fc.tuple(fc.nat(model.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(changes, (changed) => {
        const bytes = Buffer.from(model);
        for (const [at, value] of changed) bytes[at] = value;
        survives(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses lengths beyond the file, endless numbers and endless groups", () => {
    invalid(Buffer.from("3affffffff0f", "hex"), /damaged \(premature EOF\)/);
    invalid(Buffer.from("3affffffffffffffffff01", "hex"), /damaged/);
    invalid(Buffer.alloc(1_000_000, 0xff), /damaged/);
    invalid(Buffer.alloc(1_000_000, 0x0b), /damaged \(maximum recursion depth/);
    const opset = field(8, field(2, 13));
    invalid(Buffer.concat([field(7, Buffer.from("5affffffff07", "hex")), opset]), /damaged \(premature EOF\)/);
    invalid(
      Buffer.concat([field(7, field(11, Buffer.from("0affffffff07", "hex"))), opset]),
      /damaged \(premature EOF\)/,
    );
  });

  it("is fast on a large file of the smallest fields, and of names like the inserted ones", () => {
    const startedAt = performance.now();
    invalid(Buffer.alloc(4_000_000, Buffer.from("0801", "hex")), /one graph, got 0/);
    const names = Buffer.alloc(4_000_000, "pixels__");
    fusePreprocessing(pixelModel({ ...SIZE, extra: { model: field(6, names) } }), RECIPE);
    const underscores = Buffer.from(`pixels${"_".repeat(4_000_000)}`);
    invalid(
      pixelModel({ ...SIZE, extra: { model: field(6, underscores) } }),
      /names with at most 64 underscores after pixels/,
    );
    assert.ok(performance.now() - startedAt < 5000);
  });
});
