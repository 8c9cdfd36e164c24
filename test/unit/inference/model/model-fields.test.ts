import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { FieldRule } from "../../../../src/inference/model/field-rules.ts";
import { IMAGE_FIELDS } from "../../../../src/inference/model/image-fields.ts";
import { loadModel } from "../../../../src/inference/model/model.ts";
import {
  CONFIG_FIELDS,
  TOKENIZER_CONFIG_FIELDS,
  TOKENIZER_FIELDS,
} from "../../../../src/inference/model/text-fields.ts";
import { tableNames, withTables } from "../../../helpers/models/field-table.ts";
import { writeImageModel, writeTextModel } from "../../../helpers/models/onnx.ts";

test("docs/models.md has the same fields of model files as the code", async () => {
  const document = await readFile(new URL("../../../../docs/models.md", import.meta.url), "utf8");
  for (const name of tableNames) assert.ok(document.includes(`<!-- ${name} -->`), `a place for ${name}`);
  assert.equal(document, withTables(document), "run `node test/helpers/models/write-tables.ts`");
});

const FILES: [file: string, write: typeof writeTextModel, rules: readonly FieldRule[]][] = [
  ["config.json", writeTextModel, CONFIG_FIELDS],
  ["tokenizer_config.json", writeTextModel, TOKENIZER_CONFIG_FIELDS],
  ["tokenizer.json", writeTextModel, TOKENIZER_FIELDS],
  ["preprocessor_config.json", writeImageModel, IMAGE_FIELDS],
];

for (const [file, write, rules] of FILES)
  test(`each field of ${file} that the table calls refused is refused, and the error names it`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "labelmill-fields-"));
    try {
      await write(dir, { weights: [1, -1], bias: [0, 0] });
      const path = join(dir, file);
      const content = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
      // With a class, the model's own code is not used, so the class is removed.
      delete content.image_processor_type;
      const refused = rules.flatMap(({ fields, allows }) => (allows ? fields : []));
      assert.ok(refused.length > 0);
      for (const field of refused) {
        const name = field.replace("*", "something");
        await writeFile(path, JSON.stringify(withField(content, name.split("."))));
        const expected = new RegExp(`${file.replace(".", "\\.")}\\S* ${name.replaceAll(".", "\\.")}: expected `);
        await assert.rejects(loadModel(dir), { code: "MODEL_INVALID", message: expected }, field);
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });

/** The object with a value that no rule allows. */
function withField(content: Record<string, unknown>, [key, ...rest]: string[]): Record<string, unknown> {
  const inner = (content[key!] ?? {}) as Record<string, unknown>;
  return { ...content, [key!]: rest.length === 0 ? "none of these" : withField(inner, rest) };
}
