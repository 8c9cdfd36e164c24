import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../../../src/errors.ts";
import { type EncodedTexts, loadTokenizer } from "../../../../src/inference/preprocess/text/tokenizer.ts";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const TINY = path("../../../../models/tiny-sentiment");
const SHARED = path("../../../../../shared");
const gone = ["golden/text", "tools/skeletons"].find((folder) => !existsSync(join(SHARED, folder)));
const skip = gone === undefined ? false : `../shared/${gone} is not here`;

const idsOf = ({ ids, offsets }: EncodedTexts, i: number) => [...ids.subarray(offsets[i], offsets[i + 1])];

async function readLines<T>(file: string): Promise<T[]> {
  return (await readFile(file, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("token ids of the reference", { skip }, () => {
  for (const [kind, model] of [
    ["wordpiece", "distilbert-random"],
    ["bpe", "roberta-large-random"],
  ] as const) {
    test(kind, async () => {
      const tokenizer = await loadTokenizer(join(SHARED, "tools/skeletons", model));
      assert.equal(tokenizer.maxTokens, 512);
      const cases = await readLines<{ id: string; text: string }>(join(SHARED, "golden/text/cases.jsonl"));
      const expected = await readLines<{ id: string; ids: number[] }>(join(SHARED, `golden/text/${kind}.jsonl`));
      assert.deepEqual([cases.length, expected.length], [179, 179]);
      const idsById = new Map(expected.map(({ id, ids }) => [id, ids]));
      const encoded = tokenizer.encode(cases.map(({ text }) => text));
      for (const [i, { id }] of cases.entries()) {
        assert.deepEqual(idsOf(encoded, i), idsById.get(id), id);
        if (encoded.truncated[i]) assert.equal(idsById.get(id)?.length, 512, id);
      }
    });
  }
});

describe("encoding", () => {
  test("returns packed ids in order, also for an empty text and an empty list", async () => {
    const tokenizer = await loadTokenizer(TINY);
    const encoded = tokenizer.encode(["good", "", "not good"]);
    assert.deepEqual([...encoded.offsets].slice(0, 3), [0, 3, 5]);
    assert.equal(encoded.offsets[3], encoded.ids.length);
    const [start, good, end] = idsOf(encoded, 0);
    assert.deepEqual(idsOf(encoded, 1), [start, end]);
    assert.deepEqual(idsOf(encoded, 2).toSpliced(1, 1), [start, good, end]);
    assert.deepEqual([...encoded.truncated], [0, 0, 0]);
    assert.deepEqual([...tokenizer.encode([]).offsets], [0]);
  });

  test("a text that fits exactly is complete; a longer one is cut and keeps the closing token", async () => {
    const tokenizer = await loadTokenizer(TINY);
    const [start, good, end] = idsOf(tokenizer.encode(["good"]), 0);
    const encoded = tokenizer.encode(["good ".repeat(510), "good ".repeat(511)]);
    const full = [start, ...Array(510).fill(good), end];
    assert.deepEqual([idsOf(encoded, 0), idsOf(encoded, 1)], [full, full]);
    assert.deepEqual([...encoded.truncated], [0, 1]);
  });

  test("the part of a very long text that is not read does not change its ids", async () => {
    const tokenizer = await loadTokenizer(TINY);
    const text = Array.from({ length: 20_000 }, (_, i) => `Überraschung no. ${i}, isn't it?`).join(" ");
    const encoded = tokenizer.encode([text, text.slice(0, 12_000)]);
    assert.deepEqual(idsOf(encoded, 0), idsOf(encoded, 1));
    assert.deepEqual([...encoded.truncated], [1, 1]);
  });

  test("a million characters of any kind take little time", { timeout: 60_000 }, async () => {
    const units = [
      "a",
      "hello world ",
      " ",
      "\n",
      "\0",
      "中",
      "!",
      "😀",
      "[SEP]",
      "<s>",
      "\ud800",
      "a\u0301\u0327",
      "\u0301\u0327",
      "\u0301\0",
    ];
    const texts = units.map((unit) => `a${unit.repeat(1_000_000 / unit.length)}`);
    const models = skip ? [TINY] : [TINY, join(SHARED, "tools/skeletons/roberta-large-random")];
    for (const model of models) {
      const tokenizer = await loadTokenizer(model);
      const encoded = tokenizer.encode(texts);
      const [start, , end] = idsOf(tokenizer.encode(["a"]), 0);
      for (const [i, unit] of units.entries()) {
        const ids = idsOf(encoded, i);
        assert.ok(ids.length <= 512, unit);
        assert.deepEqual([ids[0], ids.at(-1), encoded.truncated[i]], [start, end, 1], unit);
      }
    }
  });
});

const WORDPIECE = {
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: "Whitespace" },
  post_processor: null,
  decoder: null,
  model: { type: "WordPiece", unk_token: "?", continuing_subword_prefix: "##", vocab: { "?": 0, a: 1, b: 2 } },
};

/** Writes a model folder with these files. Undefined omits a file; a string is written unchanged. */
async function withModel(files: Record<string, unknown>, use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "labelmill-tokenizer-"));
  try {
    const all = { "tokenizer.json": WORDPIECE, "tokenizer_config.json": {}, "config.json": {}, ...files };
    for (const [name, content] of Object.entries(all)) {
      if (content === undefined) continue;
      await writeFile(join(dir, name), typeof content === "string" ? content : JSON.stringify(content));
    }
    await use(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

describe("limits of a model", () => {
  const none = 1e30;
  const cases: [maxTokens: number, config: object, tokenizerConfig: object][] = [
    [512, {}, {}],
    [512, {}, { model_max_length: none }],
    [128, { max_position_embeddings: 512 }, { model_max_length: 128 }],
    [256, { max_position_embeddings: 256 }, { model_max_length: 512 }],
    [384, { max_position_embeddings: 384 }, { model_max_length: none }],
    [512, { model_type: "roberta", max_position_embeddings: 514, pad_token_id: 1 }, { model_max_length: none }],
    [510, { model_type: "xlm-roberta", max_position_embeddings: 514, pad_token_id: 3 }, {}],
    [514, { model_type: "bert", max_position_embeddings: 514, pad_token_id: 1 }, {}],
    [8192, { max_position_embeddings: 131_072 }, {}],
  ];
  for (const [maxTokens, config, tokenizerConfig] of cases) {
    test(`${JSON.stringify({ ...config, ...tokenizerConfig })}: ${maxTokens} tokens`, () =>
      withModel({ "config.json": config, "tokenizer_config.json": tokenizerConfig }, async (dir) => {
        const tokenizer = await loadTokenizer(dir);
        assert.equal(tokenizer.maxTokens, maxTokens);
        assert.equal(tokenizer.encode(["a ".repeat(maxTokens + 1)]).ids.length, maxTokens);
      }));
  }

  // Without the limit of marks in a row, sorting them takes about 15 s here.
  test("a long context and a long run of combining marks take little time", { timeout: 10_000 }, () => {
    const normalizer = { type: "BertNormalizer", clean_text: true, lowercase: true };
    const files = { "tokenizer.json": { ...WORDPIECE, normalizer }, "config.json": { max_position_embeddings: 8192 } };
    return withModel(files, async (dir) => {
      const tokenizer = await loadTokenizer(dir);
      for (const marks of ["\u0301\u0327", "\u0301\0\u0327\u200b"]) {
        const encoded = tokenizer.encode([`a${marks.repeat(240_000 / marks.length)} b`]);
        assert.deepEqual(idsOf(encoded, 0), [1, 2]);
      }
    });
  });

  test("a tokenizer without special tokens adds none", () =>
    withModel({ "config.json": { pad_token_id: 7 } }, async (dir) => {
      const tokenizer = await loadTokenizer(dir);
      assert.equal(tokenizer.padId, 7);
      assert.deepEqual(idsOf(tokenizer.encode(["b a x"]), 0), [2, 1, 0]);
    }));
});

describe("an incomplete model folder", () => {
  const cases: [name: string, files: Record<string, unknown>, message: RegExp][] = [
    ["no tokenizer.json", { "tokenizer.json": undefined }, /\/tokenizer\.json: .*missing/],
    ["no tokenizer_config.json", { "tokenizer_config.json": undefined }, /\/tokenizer_config\.json: .*missing/],
    ["no config.json", { "config.json": undefined }, /\/config\.json: .*missing/],
    ["half a tokenizer.json", { "tokenizer.json": '{"model": {' }, /\/tokenizer\.json: expected a JSON file, got: /],
    ["a list as tokenizer.json", { "tokenizer.json": [] }, /\/tokenizer\.json: expected a JSON object, got \[\]/],
    ["no model in tokenizer.json", { "tokenizer.json": { added_tokens: [] } }, /\/tokenizer\.json: model: /],
    ["an unknown normalizer", { "tokenizer.json": { ...WORDPIECE, normalizer: { type: "X" } } }, /works, got: .*X/],
    [
      "an empty vocabulary",
      { "tokenizer.json": { ...WORDPIECE, model: { type: "WordPiece", vocab: {} } } },
      /tokenizer\.json/,
    ],
    [
      "broken tokenizer_config.json",
      { "tokenizer_config.json": "]" },
      /\/tokenizer_config\.json: expected a JSON file/,
    ],
    [
      "truncation on the left",
      { "tokenizer_config.json": { truncation_side: "left" } },
      /_config\.json: truncation_side/,
    ],
    [
      "no room",
      { "tokenizer_config.json": { model_max_length: 0.5 } },
      /model_max_length: expected at least \d+ .*, got 0$/,
    ],
    ["a negative pad_token_id", { "config.json": { pad_token_id: -1 } }, /\/config\.json: pad_token_id/],
  ];
  for (const [name, files, message] of cases) {
    test(name, () =>
      withModel(files, (dir) =>
        assert.rejects(loadTokenizer(dir), (error) => {
          assert.ok(error instanceof LabelmillError);
          assert.equal(error.code, "MODEL_INVALID");
          assert.match(error.message, message);
          return true;
        }),
      ),
    );
  }
});
