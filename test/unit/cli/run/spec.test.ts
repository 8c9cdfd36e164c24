import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { withSpec } from "../../../../scripts/spec-table.ts";
import { readSpecFile, runFlags, specOf } from "../../../../src/cli/run/spec.ts";
import { LabelmillError } from "../../../../src/errors.ts";
import { requestOf } from "../../../../src/producers/runs/spec.ts";
import { RunSpecSchema } from "../../../../src/schemas/spec.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

/** A spec with every key, each with a value that is not its default. */
const FULL = {
  kind: "images",
  inputs: ["a.csv", "s3://data/b/"],
  out: "s3://data/labels/",
  model: "tiny-image",
  dtype: "q8",
  format: "csv",
  delimiter: ";",
  column: "image",
  idColumn: "sku",
  keep: ["price"],
  where: ["lang=en", "note=a=b"],
  sample: 0.25,
  limit: 7,
  topK: 3,
  output: { format: "parquet", compression: "zstd", targetBytes: 5_000_000, partitionBy: "label", errors: "apart" },
  lane: "interactive",
  events: "rows",
  sliceItems: 12,
  sliceBytes: 4096,
  maxErrors: "5%",
  sliceTimeout: 1.5,
  pricePerHour: 0.9,
};

function refused(content: Record<string, unknown>): string {
  try {
    specOf({ name: "s.yaml", content }, {});
  } catch (error) {
    assert.ok(error instanceof LabelmillError && error.code === "SPEC_INVALID", String(error));
    return error.message;
  }
  return assert.fail("it was accepted");
}

test("every key of a spec reaches the run, or its settings", () => {
  assert.deepEqual(Object.keys(FULL).sort(), Object.keys(RunSpecSchema.shape).sort(), "no key is left out here");
  const { request, settings } = requestOf(specOf({ name: "s.yaml", content: FULL }, {}));
  assert.deepEqual(settings, { dtype: "q8", events: "rows", sliceItems: 12, sliceBytes: 4096 });
  assert.deepEqual(request, {
    kind: "images",
    inputs: ["a.csv", "s3://data/b/"],
    read: {
      ...{ format: "csv", delimiter: ";", column: "image", idColumn: "sku", keep: ["price"] },
      where: [
        { column: "lang", value: "en" },
        { column: "note", value: "a=b" },
      ],
    },
    ...{ model: "tiny-image", out: "s3://data/labels/", topK: 3, lane: "interactive", output: FULL.output },
    ...{ share: 0.25, limit: 7, maxErrors: "5%", sliceTimeoutMs: 1500, pricePerHour: 0.9 },
  });
});

test("flags override the file key by key, also in the output", () => {
  const flags = { topK: 9, where: ["lang=de"], compression: "gzip", targetSize: 2_000_000 };
  const spec = specOf({ name: "s.yaml", content: FULL }, flags);
  assert.deepEqual(
    [spec.topK, spec.where, spec.output],
    [9, [{ column: "lang", value: "de" }], { ...FULL.output, compression: "gzip", targetBytes: 2_000_000 }],
  );
  assert.deepEqual([spec.model, spec.maxErrors, spec.limit], ["tiny-image", "5%", 7], "keys without a flag stay");
});

test("flags alone give the same spec as a file", () => {
  const fixed = { kind: "text", inputs: ["a.csv"] } as const;
  const said = { sample: 0.5, limit: 3, maxErrors: "10", where: ["lang=en"] };
  const content = { ...fixed, ...said, output: { partitionBy: "label" } };
  const flags = runFlags({ ...said, partitionBy: "label", sliceItems: "5", overwrite: true });
  const { inputs } = fixed;
  assert.deepEqual(
    specOf(undefined, flags, { kind: fixed.kind, inputs: [...inputs] }),
    specOf({ name: "s.yaml", content: { ...content, inputs: [...inputs] } }, {}),
  );
});

test("an unknown key is named, with the nearest known key", () => {
  const least = { kind: "text", inputs: ["a.csv"] };
  assert.match(refused({ ...least, modle: "x" }), /^s\.yaml: unknown key "modle"; did you mean "model"\?$/);
  assert.match(refused({ ...least, idcolumn: "x" }), /"idcolumn"; did you mean "idColumn"\?$/);
  assert.match(refused({ ...least, output: { formt: "parquet" } }), /"output\.formt"; did you mean "format"\?$/);
  assert.match(refused({ ...least, zzzzzzzzzz: 1 }), /"zzzzzzzzzz": expected kind, inputs, .*pricePerHour$/);
});

test("a wrong value is refused with file and key", () => {
  const least = { kind: "text", inputs: ["a.csv"] };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ kind: "sound", inputs: ["a"] }, /^s\.yaml: kind: /],
    [{ kind: "text", inputs: [] }, /^s\.yaml: inputs: /],
    [{ kind: "text", inputs: ["a", 3] }, /^s\.yaml: inputs\.1: /],
    [{ ...least, where: ["lang"] }, /^s\.yaml: where\.0: expected column=value, such as lang=en, got "lang"$/],
    [{ ...least, where: ["=en"] }, /^s\.yaml: where\.0: expected column=value, such as lang=en, got "=en"$/],
    [{ ...least, sample: 1 }, /^s\.yaml: sample: /],
    [{ ...least, limit: 0, sample: 3 }, /^s\.yaml: sample: expected .*<1, got 3; limit: expected .*>=1, got 0$/],
    [{ ...least, maxErrors: "many" }, /^s\.yaml: maxErrors: /],
    [{ ...least, output: { targetBytes: 1 } }, /^s\.yaml: output\.targetBytes: /],
  ];
  for (const [content, message] of cases) assert.match(refused(content), message);
  const flags: [Record<string, unknown>, RegExp][] = [
    [{ sample: 2 }, /^--sample: expected number to be <1, got 2$/],
    [{ pricePerHour: -1 }, /^--price-per-hour: .*, got -1$/],
    [{ targetSize: 1 }, /^--target-size: .*, got 1$/],
    [{ where: ["x"] }, /^--where: expected column=value, such as lang=en, got "x"$/],
  ];
  for (const [flag, message] of flags)
    assert.throws(() => specOf(undefined, flag, { kind: "text", inputs: ["a"] }), { code: "USAGE", message });
});

test("a spec file is YAML or JSON of limited size, with a limit for aliases", async () => {
  await using folder = await temporaryFolder();
  const write = async (name: string, content: string) => {
    await writeFile(join(folder.path, name), content);
    return join(folder.path, name);
  };
  const expected = { kind: "text", inputs: ["a.csv"] };
  assert.deepEqual(await readSpecFile(await write("s.yaml", "kind: text\ninputs: [a.csv]\n")), expected);
  assert.deepEqual(await readSpecFile(await write("s.json", JSON.stringify(expected))), expected);
  const invalid: [string, RegExp][] = [
    ["- a\n", /expected keys and values/],
    ["kind: [text\n", /expected YAML or JSON: /],
    [`x: ${"y".repeat(10_000_000)}\n`, /expected at most 10000000 bytes/],
    [aliasBomb(), /expected YAML or JSON: .*alias/i],
  ];
  for (const [content, message] of invalid)
    await assert.rejects(readSpecFile(await write("bad.yaml", content)), { code: "SPEC_INVALID", message });
  await assert.rejects(readSpecFile(join(folder.path, "none.yaml")), { code: "INPUT_NOT_FOUND" });
});

/** Ten levels, each with ten aliases of the level before: ten billion values. */
function aliasBomb(): string {
  const levels = Array.from({ length: 10 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(10)}]`);
  return `l0: &l0 [x]\n${levels.join("\n")}\n`;
}

test("the table of keys in docs/runs.md matches the schema", async () => {
  const page = await readFile(new URL("../../../../docs/runs.md", import.meta.url), "utf8");
  assert.equal(page, withSpec(page), "run: node scripts/spec-table.ts");
});
