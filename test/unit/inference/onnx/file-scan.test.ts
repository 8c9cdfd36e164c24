import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { scanOnnx } from "../../../../src/inference/onnx/file-scan.ts";
import { FLOAT, field, graphProto, INT64, node, tensor, valueInfo } from "../../../helpers/models/onnx.ts";
import { externalTensor } from "../../../helpers/models/pixel-model.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const at = (file: string) => externalTensor("w", [2], file);
const attribute = (number: number, value: Buffer) => Buffer.concat([field(1, "a"), field(number, value)]);
const nodeWith = (number: number, value: Buffer) => node("If", ["x"], ["y"], [attribute(number, value)]);
const sparse = (values: string, indices: string) => Buffer.concat([field(1, at(values)), field(2, at(indices))]);
const body = (file: string) => graphProto("body", [], [at(file)], [], [valueInfo("inner", FLOAT, [7])]);

async function scanned(...parts: Buffer[]) {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "model.onnx");
  await writeFile(path, Buffer.concat(parts));
  return await scanOnnx(path);
}

describe("scanOnnx", () => {
  test("finds the locations of weights in graphs, branches, functions, sparse tensors and attributes", async () => {
    const nodes = [
      nodeWith(5, at("attribute")),
      nodeWith(6, body("branch")),
      nodeWith(10, at("of a list")),
      nodeWith(11, graphProto("outer", [nodeWith(6, body("branch of a branch"))], [], [], [])),
      nodeWith(22, sparse("sparse attribute", "its indices")),
      nodeWith(23, sparse("of a sparse list", "of a sparse list")),
    ];
    const graph = Buffer.concat([
      graphProto("main", nodes, [at("initializer"), tensor("here", [1], Float32Array.of(1))], [], []),
      field(15, sparse("sparse", "indices")),
    ]);
    const functions = Buffer.concat([field(7, nodeWith(5, at("function"))), field(11, attribute(5, at("default")))]);
    const { locations } = await scanned(
      field(1, 8),
      field(7, graph),
      field(20, field(1, body("training"))),
      field(25, functions),
    );
    const expected = ["attribute", "branch", "of a list", "branch of a branch", "sparse attribute", "its indices"];
    expected.push("of a sparse list", "initializer", "sparse", "indices", "training", "function", "default");
    assert.deepEqual(locations, expected);
  });

  test("finds the location of a tensor in two parts, and ignores other entries", async () => {
    const entry = (key: string, value: string) => field(13, Buffer.concat([field(1, key), field(2, value)]));
    const parts = [Buffer.concat([entry("offset", "12"), entry("location", "w.bin")]), field(14, 1)];
    const split = Buffer.concat(parts.map((part) => field(5, part)));
    const { locations } = await scanned(field(7, field(1, field(5, split))));
    assert.deepEqual(locations, ["w.bin"]);
  });

  test("returns the outputs of the model with their fixed sizes", async () => {
    const outputs = [valueInfo("logits", FLOAT, ["batch", 3]), valueInfo("free", INT64, null)];
    const graph = graphProto("main", [nodeWith(6, body("w"))], [], [], outputs);
    assert.deepEqual((await scanned(field(7, graph))).outputs, [
      { name: "logits", dims: [undefined, 3] },
      { name: "free", dims: [] },
    ]);
  });

  const io = "/proc/self/io";
  test("skips the data of tensors", { skip: existsSync(io) ? false : `no ${io} here` }, async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "large.onnx");
    const raw = 1 << 30;
    // A sparse tensor of a gigabyte, followed by one in an external file.
    const head = Buffer.concat([field(2, FLOAT), tag(9), varint(raw)]);
    const large = Buffer.concat([tag(5), varint(head.length + raw), head]);
    const behind = field(5, at("behind.bin"));
    const start = Buffer.concat([tag(7), varint(large.length + raw + behind.length), large]);
    await using file = await open(path, "w");
    await file.write(start, 0, start.length, 0);
    await file.write(behind, 0, behind.length, start.length + raw);
    const readBytes = () => Number(/rchar: (\d+)/.exec(readFileSync(io, "utf8"))![1]);
    const before = readBytes();
    assert.deepEqual((await scanOnnx(path)).locations, ["behind.bin"]);
    assert.ok(readBytes() - before < 5_000_000);
  });

  const nested = (levels: number): Buffer =>
    levels === 0 ? body("w") : graphProto("b", [nodeWith(6, nested(levels - 1))], [], [], []);
  const manyFiles = Buffer.concat(Array.from({ length: 1001 }, (_, i) => field(5, at(`w${i}`))));
  for (const [what, bytes, message] of [
    ["text", Buffer.from("this is not a model"), /./],
    ["a truncated file", field(7, body("w")).subarray(0, -2), /ends after its message/],
    [
      "a field that is longer than its message",
      field(7, Buffer.concat([tag(5), varint(9), Buffer.of(1)])),
      /ends after/,
    ],
    ["deeply nested messages", field(7, nested(40)), /more than 100 levels deep/],
    ["too many files", field(7, manyFiles), /more than 1000 files/],
    ["an endless name", field(7, field(12, Buffer.alloc(1 << 21))), /2097152 bytes/],
  ] as const)
    test(`refuses ${what}`, () => assert.rejects(scanned(bytes), message));
});

function tag(number: number): Buffer {
  return Buffer.of((number << 3) | 2);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}
