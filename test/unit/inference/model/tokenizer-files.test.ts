import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readTokenizerFiles } from "../../../../src/inference/model/tokenizer/files.ts";
import { loadTokenizer } from "../../../../src/inference/preprocess/text/tokenizer.ts";

type Files = { tokenizer?: object; tokenizerConfig?: object; config?: object };

const VOCAB = { "?": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "[X]": 4, a: 5, b: 6, c: 7, A: 8, "##b": 9 };
const TOKENIZER = {
  added_tokens: [],
  pre_tokenizer: { type: "BertPreTokenizer" },
  model: { type: "WordPiece", unk_token: "?", continuing_subword_prefix: "##", vocab: VOCAB },
};
const BERT = { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true };
const token = (content: string, flags: object = {}) => ({
  ...{ id: VOCAB[content as keyof typeof VOCAB], content, special: true },
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false, ...flags },
});

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-tokenizer-files-"));
});
after(() => rm(root, { recursive: true }));

async function folder({ tokenizer = {}, tokenizerConfig = {}, config = {} }: Files): Promise<string> {
  const dir = await mkdtemp(join(root, "model-"));
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify({ ...TOKENIZER, ...tokenizer }));
  await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify(tokenizerConfig));
  await writeFile(join(dir, "config.json"), JSON.stringify(config));
  return dir;
}

async function idsOf(files: Files, text: string): Promise<number[]> {
  return [...(await loadTokenizer(await folder(files))).encode([text]).ids];
}

describe("padding", () => {
  const cases: [side: string, files: Files][] = [
    ["right", {}],
    ["left", { tokenizerConfig: { padding_side: "left" } }],
    ["left", { tokenizer: { padding: { direction: "Left" } } }],
    ["right", { tokenizer: { padding: { direction: "Left" } }, tokenizerConfig: { padding_side: "right" } }],
    ["left", { tokenizerConfig: { tokenizer_class: "LlamaTokenizerFast" } }],
    ["left", { tokenizerConfig: { tokenizer_class: "GemmaTokenizer" } }],
    ["right", { tokenizerConfig: { tokenizer_class: "PreTrainedTokenizerFast" } }],
  ];
  for (const [side, files] of cases)
    test(`${side}: ${JSON.stringify(files)}`, async () => {
      assert.equal((await readTokenizerFiles(await folder(files))).paddingSide, side);
    });

  test("uses pad_token_id, else pad_token, else RoBERTa's default, else 0", async () => {
    const padId = async (files: Files) => (await readTokenizerFiles(await folder(files))).padId;
    const tokenizerConfig = { pad_token: { content: "[PAD]" } };
    assert.equal(await padId({ tokenizerConfig, config: { pad_token_id: 7 } }), 7);
    assert.equal(await padId({ tokenizerConfig }), 1);
    assert.equal(await padId({ config: { model_type: "roberta" } }), 1);
    assert.equal(await padId({}), 0);
  });
});

describe("the most tokens of RoBERTa and similar models", () => {
  const limit = { max_position_embeddings: 514, pad_token_id: 1 };
  const cases: [maxTokens: number, config: object, tokenizerConfig: object][] = [
    [512, { ...limit, architectures: ["RobertaForSequenceClassification"] }, {}],
    [512, { ...limit, architectures: ["XLMRobertaForSequenceClassification"] }, {}],
    [514, { ...limit, architectures: ["BertForSequenceClassification"] }, {}],
    [512, limit, { tokenizer_class: "RobertaTokenizerFast" }],
    [514, limit, { tokenizer_class: "BertTokenizer" }],
    [512, limit, {}],
    [514, { max_position_embeddings: 514 }, {}],
    [512, { model_type: "camembert", max_position_embeddings: 514 }, {}],
    [510, { model_type: "roberta" }, {}],
    [1024, { model_type: "gpt2", n_positions: 1024 }, {}],
    [300, {}, { max_len: 300 }],
    [200, {}, { max_len: 300, model_max_length: 200 }],
  ];
  for (const [maxTokens, config, tokenizerConfig] of cases)
    test(`${maxTokens}: ${JSON.stringify({ ...config, ...tokenizerConfig })}`, async () => {
      const tokenizer = await loadTokenizer(await folder({ config, tokenizerConfig }));
      assert.equal(tokenizer.encode(["a ".repeat(9000)]).ids.length, maxTokens);
    });
});

describe("added tokens", () => {
  test("may strip spaces on either side", async () => {
    const added = (flags: object) => ({ tokenizer: { added_tokens: [token("[X]", flags)], pre_tokenizer: null } });
    assert.deepEqual(await idsOf(added({}), "a[X]b"), [5, 4, 6]);
    assert.deepEqual(await idsOf(added({}), "a [X] b"), [0, 4, 0]);
    assert.deepEqual(await idsOf(added({ lstrip: true }), "a [X] b"), [5, 4, 0]);
    assert.deepEqual(await idsOf(added({ lstrip: true, rstrip: true }), "a [X] b"), [5, 4, 6]);
  });

  test("are found before or after the text is normalized", async () => {
    const added = (normalized: boolean) => ({
      tokenizer: { added_tokens: [token("A", { normalized })], normalizer: { type: "Lowercase" } },
    });
    assert.deepEqual(await idsOf(added(false), "A a"), [8, 5]);
    assert.deepEqual(await idsOf(added(true), "A a"), [8, 8]);
  });

  test("may be named, and get flags, in tokenizer_config.json", async () => {
    assert.deepEqual(await idsOf({}, "a[X]b"), [5, 0, 0, 0, 6]);
    assert.deepEqual(await idsOf({ tokenizerConfig: { mask_token: "[X]" } }, "a[X]b"), [5, 4, 6]);
    const listed = { tokenizerConfig: { additional_special_tokens: ["[X]", "[Y]"] } };
    assert.deepEqual(await idsOf(listed, "a[X]b"), [5, 4, 6]);
    const tokenizer = { added_tokens: [token("[X]")], pre_tokenizer: null };
    const { id, ...flags } = token("[X]", { lstrip: true });
    const decoded = { tokenizer, tokenizerConfig: { added_tokens_decoder: { [id]: flags } } };
    assert.deepEqual(await idsOf(decoded, "a [X]b"), [5, 4, 6]);
  });
});

describe("special_tokens_map.json", () => {
  const map = { mask_token: { content: "[X]" }, pad_token: "[PAD]" };
  async function load(files: Files) {
    const dir = await folder(files);
    await writeFile(join(dir, "special_tokens_map.json"), JSON.stringify(map));
    return loadTokenizer(dir);
  }

  test("with a token that the tokenizer would not find is refused", async () => {
    const message = /special_tokens_map\.json: mask_token: expected a token that .* names too, got "\[X\]"/;
    await assert.rejects(load({ tokenizerConfig: { pad_token: "[PAD]" } }), { code: "MODEL_INVALID", message });
  });

  test("is ignored if other files have the same tokens, or transformers reads others", async () => {
    const { id, ...flags } = token("[X]");
    for (const files of [
      { tokenizerConfig: map },
      { tokenizer: { added_tokens: [token("[X]"), token("[PAD]")] } },
      { tokenizerConfig: { added_tokens_decoder: { [id]: flags } } },
    ])
      assert.ok((await load(files)).maxTokens > 0);
  });
});

describe("tokenizers that the library interprets differently from the reference", () => {
  const TEXT = "the-final--c naïve½ x٣४ 42 ²!!«a» a-b a--b";
  /** Made with tokenizers 0.23.3 for Python. */
  const CASES: [part: object, pieces: string[]][] = [
    [
      { type: "Whitespace" },
      ["the", "-", "final", "--", "c", "naïve", "½", "x٣४", "42", "²!!«", "a", "»", "a", "-", "b", "a", "--", "b"],
    ],
    [
      { type: "Punctuation" },
      ["the", "-", "final", "-", "-", "c naïve½ x٣४ 42 ²", "!", "!", "«", "a", "»", " a", "-", "b a", "-", "-", "b"],
    ],
    [
      { type: "Punctuation", behavior: "Contiguous" },
      ["the", "-", "final", "--", "c naïve½ x٣४ 42 ²", "!!«", "a", "»", " a", "-", "b a", "--", "b"],
    ],
    [{ type: "Punctuation", behavior: "Removed" }, ["the", "final", "c naïve½ x٣४ 42 ²", "a", " a", "b a", "b"]],
    [
      { type: "Punctuation", behavior: "MergedWithPrevious" },
      ["the-", "final-", "-", "c naïve½ x٣४ 42 ²!", "!", "«", "a»", " a-", "b a-", "-", "b"],
    ],
    [
      { type: "Digits", individual_digits: true },
      ["the-final--c naïve", "½", " x", "٣", "४", " ", "4", "2", " ", "²", "!!«a» a-b a--b"],
    ],
    [
      { type: "Digits", individual_digits: false },
      ["the-final--c naïve", "½", " x", "٣४", " ", "42", " ", "²", "!!«a» a-b a--b"],
    ],
    [
      { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
      ["▁the-final--c", "▁naïve½", "▁x٣४", "▁42", "▁²!!«a»", "▁a-b", "▁a--b"],
    ],
    [
      { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: false },
      ["the-final--c▁naïve½▁x٣४▁42▁²!!«a»▁a-b▁a--b"],
    ],
    [
      { type: "Metaspace", replacement: "▁", prepend_scheme: "never" },
      ["the-final--c", "▁naïve½", "▁x٣४", "▁42", "▁²!!«a»", "▁a-b", "▁a--b"],
    ],
    [
      { type: "Metaspace", replacement: "▁", add_prefix_space: true },
      ["▁the-final--c", "▁naïve½", "▁x٣४", "▁42", "▁²!!«a»", "▁a-b", "▁a--b"],
    ],
    [
      {
        type: "Sequence",
        pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace", replacement: "▁", prepend_scheme: "always" }],
      },
      ["▁the-final--c", "▁naïve½", "▁x٣४", "▁42", "▁²!!«a»", "▁a-b", "▁a--b"],
    ],
    [
      {
        type: "Sequence",
        pretokenizers: [{ type: "Whitespace" }, { type: "Punctuation" }, { type: "Digits", individual_digits: true }],
      },
      [
        "the",
        "-",
        "final",
        "-",
        "-",
        "c",
        "naïve",
        "½",
        "x",
        "٣",
        "४",
        "4",
        "2",
        "²",
        "!",
        "!",
        "«",
        "a",
        "»",
        "a",
        "-",
        "b",
        "a",
        "-",
        "-",
        "b",
      ],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "Removed", invert: false },
      ["the-final--c", "naïve½", "x٣४", "42", "²!!«a»", "a-b", "a--b"],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "Isolated", invert: false },
      ["the-final--c", " ", "naïve½", " ", "x٣४", " ", "42", " ", "²!!«a»", " ", "a-b", " ", "a--b"],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "Contiguous", invert: false },
      ["the-final--c", " ", "naïve½", " ", "x٣४", " ", "42", " ", "²!!«a»", " ", "a-b", " ", "a--b"],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
      ["the-final--c ", "naïve½ ", "x٣४ ", "42 ", "²!!«a» ", "a-b ", "a--b"],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "MergedWithNext", invert: false },
      ["the-final--c", " naïve½", " x٣४", " 42", " ²!!«a»", " a-b", " a--b"],
    ],
    [
      { type: "Split", pattern: { String: " " }, behavior: "Isolated", invert: true },
      ["the-final--c", " ", "naïve½", " ", "x٣४", " ", "42", " ", "²!!«a»", " ", "a-b", " ", "a--b"],
    ],
    [
      { type: "Split", pattern: { String: "a-" }, behavior: "Removed", invert: false },
      ["the-final--c naïve½ x٣४ 42 ²!!«a» ", "b ", "-b"],
    ],
    [
      { type: "Split", pattern: { String: "a-" }, behavior: "Isolated", invert: false },
      ["the-final--c naïve½ x٣४ 42 ²!!«a» ", "a-", "b ", "a-", "-b"],
    ],
    [
      { type: "Split", pattern: { String: "a-" }, behavior: "Contiguous", invert: false },
      ["the-final--c naïve½ x٣४ 42 ²!!«a» ", "a-", "b ", "a-", "-b"],
    ],
    [
      { type: "Split", pattern: { String: "a-" }, behavior: "MergedWithPrevious", invert: false },
      ["the-final--c naïve½ x٣४ 42 ²!!«a» a-", "b a-", "-b"],
    ],
    [
      { type: "Split", pattern: { String: "a-" }, behavior: "MergedWithNext", invert: false },
      ["the-final--c naïve½ x٣४ 42 ²!!«a» ", "a-b ", "a--b"],
    ],
  ];
  for (const [part, pieces] of CASES)
    test(JSON.stringify(part), async () => {
      const vocab = Object.fromEntries(["?", ...new Set(pieces), "a"].map((piece, id) => [piece, id]));
      const ids = Object.entries(vocab);
      const tokenizer = { pre_tokenizer: part, model: { type: "WordLevel", vocab, unk_token: "?" } };
      const encoded = await idsOf({ tokenizer }, TEXT);
      assert.deepEqual(
        encoded.map((id) => ids.find(([, each]) => each === id)?.[0]),
        pieces,
      );
    });

  test("an unknown word of WordLevel, whose unknown token only tokenizer.json names", async () => {
    const tokenizer = { model: { type: "WordLevel", vocab: { a: 0, "<u>": 1 }, unk_token: "<u>" } };
    assert.deepEqual(await idsOf({ tokenizer }, "a x"), [0, 1]);
  });

  test("a model without a type, with the default values", async () => {
    assert.deepEqual(await idsOf({ tokenizer: { model: { ...TOKENIZER.model, type: undefined } } }, "ab x"), [5, 9, 0]);
  });
});

describe("fields that change answers and are not supported are refused", () => {
  const file = (part: object): Files => ({ tokenizer: part });
  const said = (part: object, tokenizer: object = {}): Files => ({ tokenizerConfig: part, tokenizer });
  const bert = { normalizer: BERT };
  const bytes = { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } };
  const single = [{ SpecialToken: { id: "[CLS]", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }];
  const template = { type: "TemplateProcessing", single, special_tokens: { "[CLS]": { id: "[CLS]", ids: [2] } } };
  const bertTokens = { type: "BertProcessing", cls: ["[CLS]", 2], sep: ["[SEP]", 3] };
  const CASES: [field: string, files: Files][] = [
    ["tokenizer.json: added_tokens.single_word", file({ added_tokens: [token("[X]", { single_word: true })] })],
    ["tokenizer.json: truncation.direction", file({ truncation: { direction: "Left" } })],
    ["tokenizer.json: model.dropout", file({ model: { type: "BPE", vocab: { a: 0 }, merges: [], dropout: 0.1 } })],
    [
      "tokenizer.json: model.continuing_subword_prefix",
      file({ model: { type: "BPE", vocab: { a: 0 }, merges: [], continuing_subword_prefix: "##" } }),
    ],
    [
      "tokenizer.json: model.byte_fallback",
      file({ model: { type: "Unigram", vocab: [["a", 0]], byte_fallback: true } }),
    ],
    ["tokenizer.json: model.type", file({ model: { ...TOKENIZER.model, type: "Other" } })],
    ["tokenizer.json: normalizer.precompiled_charsmap", file({ normalizer: { type: "Precompiled" } })],
    [
      "tokenizer.json: normalizer.precompiled_charsmap",
      file({
        normalizer: { type: "Sequence", normalizers: [{ type: "Precompiled", precompiled_charsmap: "BAAAAAAAAAA=" }] },
      }),
    ],
    [
      "tokenizer.json: pre_tokenizer.behavior",
      file({ pre_tokenizer: { type: "Split", pattern: { String: "a" }, behavior: "MergedWithNext", invert: true } }),
    ],
    [
      "tokenizer.json: pre_tokenizer.pattern",
      file({ pre_tokenizer: { type: "Split", pattern: {}, behavior: "Isolated" } }),
    ],
    [
      "tokenizer.json: pre_tokenizer.add_prefix_space",
      file({ pre_tokenizer: { type: "Metaspace", add_prefix_space: false } }),
    ],
    [
      "tokenizer.json: pre_tokenizer.type",
      file({ pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "FixedLength", length: 3 }] } }),
    ],
    [
      "tokenizer.json: post_processor.special_tokens",
      file({ post_processor: { ...template, special_tokens: { "[CLS]": { ids: [3] } } } }),
    ],
    [
      "tokenizer.json: post_processor.single",
      file({ post_processor: { ...template, single: [{ Sequence: { id: "A", type_id: 1 } }] } }),
    ],
    [
      "tokenizer.json: post_processor.cls",
      file({ post_processor: { type: "BertProcessing", cls: ["[CLS]", 9], sep: ["[SEP]", 3] } }),
    ],
    ["tokenizer_config.json: padding_side", said({ padding_side: "both" })],
    ["tokenizer_config.json: truncation_side", said({ truncation_side: "left" })],
    ["tokenizer_config.json: add_special_tokens", said({ add_special_tokens: false })],
    ["tokenizer_config.json: split_special_tokens", said({ split_special_tokens: true })],
    ["tokenizer_config.json: auto_map.AutoTokenizer", said({ auto_map: { AutoTokenizer: ["own.Own", null] } })],
    ["tokenizer_config.json: do_lower_case", said({ do_lower_case: false }, bert)],
    [
      "tokenizer_config.json: do_lower_case",
      said({ tokenizer_class: "BertTokenizer" }, { normalizer: { ...BERT, lowercase: false } }),
    ],
    ["tokenizer_config.json: strip_accents", said({ strip_accents: false }, bert)],
    [
      "tokenizer_config.json: strip_accents",
      said({ tokenizer_class: "BertTokenizerFast" }, { normalizer: { ...BERT, strip_accents: false } }),
    ],
    ["tokenizer_config.json: tokenize_chinese_chars", said({ tokenize_chinese_chars: false }, bert)],
    ["tokenizer_config.json: add_prefix_space", said({ add_prefix_space: false }, bytes)],
    ["tokenizer_config.json: add_prefix_space", said({ tokenizer_class: "RobertaTokenizer" }, bytes)],
    ["tokenizer_config.json: add_bos_token", said({ add_bos_token: true, bos_token: "[CLS]" })],
    ["tokenizer_config.json: add_bos_token", said({ add_bos_token: false }, { post_processor: template })],
    ["tokenizer_config.json: add_eos_token", said({ add_eos_token: true, eos_token: "[SEP]" })],
    ...["Llama", "CodeLlama", "Gemma", "Cohere", "GPTNeoX"].map((name): [string, Files] => [
      "tokenizer_config.json: add_bos_token",
      said({ tokenizer_class: `${name}TokenizerFast`, add_bos_token: false }, { post_processor: template }),
    ]),
    ["tokenizer_config.json: added_tokens_decoder.5", said({ added_tokens_decoder: { 5: { content: "[X]" } } })],
    ["tokenizer_config.json: added_tokens_decoder.50", said({ added_tokens_decoder: { 50: { content: "[NEW]" } } })],
    ["config.json: max_position_embeddings", { config: { max_position_embeddings: "512" } }],
  ];
  for (const [field, files] of CASES)
    test(`${field}: ${JSON.stringify(files).slice(0, 120)}`, async () => {
      const dir = await folder(files);
      await assert.rejects(loadTokenizer(dir), (error: Error & { code?: string }) => {
        assert.equal(error.code, "MODEL_INVALID");
        assert.ok(error.message.startsWith(`${dir}/${field}: `), error.message);
        return true;
      });
    });

  for (const [what, files] of [
    [
      "lowercasing that both files say",
      said({ do_lower_case: true, strip_accents: null, tokenizer_class: "BertTokenizer" }, bert),
    ],
    ["what a class does not read", said({ do_lower_case: false, tokenizer_class: "PreTrainedTokenizerFast" }, bert)],
    [
      "a token before each text that both files say",
      said({ add_bos_token: true, bos_token: "[CLS]" }, { post_processor: template }),
    ],
    [
      "add_bos_token of a class that only stores it",
      said({ add_bos_token: false, tokenizer_class: "DebertaTokenizer" }, { post_processor: bertTokens }),
    ],
    [
      "tokens after each text of which only add_eos_token would say something",
      said(
        { add_bos_token: true, bos_token: "[CLS]", tokenizer_class: "LlamaTokenizerFast" },
        { post_processor: bertTokens },
      ),
    ],
    [
      "no dropout",
      file({ model: { type: "BPE", vocab: { a: 0, "?": 1 }, merges: [], unk_token: "?", dropout: null } }),
    ],
  ] as const)
    test(`not refused: ${what}`, async () => {
      assert.ok((await loadTokenizer(await folder(files))).maxTokens > 0);
    });

  for (const [tokenizerClass, field, isIn, tokenizer] of [
    ["BertTokenizer", "do_lower_case", true, { normalizer: { ...BERT, lowercase: false } }],
    ["BertTokenizer", "tokenize_chinese_chars", true, { normalizer: { ...BERT, handle_chinese_chars: false } }],
    ["BertTokenizerFast", "strip_accents", true, { normalizer: { ...BERT, strip_accents: false } }],
    ["RobertaTokenizer", "add_prefix_space", false, bytes],
  ] as const)
    test(`missing ${field}: the error has the default of ${tokenizerClass} and the line to add`, async () => {
      const files = said({ tokenizer_class: tokenizerClass }, tokenizer);
      const message = new RegExp(
        `${field}: expected ${!isIn}, as in tokenizer.json, got nothing, so ${isIn} for ${tokenizerClass}: if tokenizer.json is right, add "${field}": ${!isIn}$`,
      );
      await assert.rejects(loadTokenizer(await folder(files)), { code: "MODEL_INVALID", message });
    });
});
