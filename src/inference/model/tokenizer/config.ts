import { invalidFile, isObject, type Json, show } from "../json.ts";

/** Tokenizers for which `do_lower_case` and similar fields of tokenizer_config.json take precedence over tokenizer.json. */
const BERT =
  /^(Bert|DistilBert|MobileBert|Electra|ConvBert|Funnel|LayoutLM|LayoutLMv2|Lxmert|MPNet|RetriBert|Splinter|SqueezeBert)Tokenizer(Fast)?$/;
/** Tokenizers for which `add_prefix_space` takes precedence in the same way. */
const BYTE_LEVEL = /^(GPT2|Roberta|Longformer|Bart|LED|Luke|Deberta|Mvp|Blenderbot)Tokenizer(Fast)?$/;
/** Tokenizers that add tokens according to `add_bos_token` and `add_eos_token`. The others only store these fields. (transformers 4) */
const ADDS = /^(Llama|CodeLlama|Gemma|Cohere|GPTNeoX)Tokenizer(Fast)?$/;
/** Tokenizers that pad on the left by default. */
const LEFT = /^(Llama|CodeLlama|Gemma|Cohere|XLNet|Siglip2)Tokenizer(Fast)?$/;

/** The side on which short texts are padded. */
export type PaddingSide = "left" | "right";

/** @returns the side in tokenizer_config.json, else in tokenizer.json, else the class's. Throws an Error for an unknown value. */
export function paddingSideOf(file: Json, config: Json): PaddingSide {
  const side = config.padding_side;
  if (side === "left" || side === "right") return side;
  if (side !== undefined) throw new Error(`padding_side: expected "left" or "right", got ${show(side)}`);
  const direction = isObject(file.padding) ? file.padding.direction : undefined;
  if (direction !== undefined) return direction === "Left" ? "left" : "right";
  return LEFT.test(String(config.tokenizer_class)) ? "left" : "right";
}

/**
 * Checks that tokenizer_config.json does not contradict tokenizer.json: implementations differ in which file they use.
 * Throws an Error that begins with the field.
 */
export function checkAgreement(file: Json, config: Json): void {
  const { normalizer, pre_tokenizer: preTokenizer } = file;
  const className = classOf(config);
  if (isObject(normalizer) && normalizer.type === "BertNormalizer" && (className === "" || BERT.test(className)))
    checkBert(normalizer, config, className);
  if (isObject(preTokenizer) && preTokenizer.type === "ByteLevel" && (className === "" || BYTE_LEVEL.test(className)))
    checkEqual(config, className, "add_prefix_space", preTokenizer.add_prefix_space ?? false, false);
}

function checkBert(normalizer: Json, config: Json, className: string): void {
  const lowercase = normalizer.lowercase ?? true;
  checkEqual(config, className, "do_lower_case", lowercase, true);
  checkEqual(config, className, "tokenize_chinese_chars", normalizer.handle_chinese_chars ?? true, true);
  checkEqual(config, className, "strip_accents", normalizer.strip_accents ?? lowercase, lowercase);
}

/** @param usual the class's value if the file has none; ignored without a class */
function checkEqual(config: Json, className: string, field: string, expected: unknown, usual: unknown): void {
  const value = config[field];
  if (value === expected || (value === undefined && (className === "" || usual === expected))) return;
  const [got, fix] =
    value === undefined
      ? [`nothing, so ${show(usual)} for ${className}`, `if tokenizer.json is right, add "${field}": ${show(expected)}`]
      : [show(value), "set both to the same value"];
  throw new Error(`${field}: expected ${show(expected)}, as in tokenizer.json, got ${got}: ${fix}`);
}

/** @returns `tokenizer_class`, or "" */
function classOf({ tokenizer_class: name }: Json): string {
  return typeof name === "string" ? name : "";
}

/**
 * Checks the tokens that are added before and after each text against `add_bos_token` and `add_eos_token`, if the file has them.
 * @param path of tokenizer_config.json
 * @throws LabelmillError MODEL_INVALID, naming the field
 */
export function checkBounds(
  path: string,
  config: Json,
  ids: { bos: number | undefined; eos: number | undefined },
  added: { before: readonly number[]; after: readonly number[] },
): void {
  const { add_bos_token: bos, add_eos_token: eos } = config;
  const className = classOf(config);
  if (className !== "" && !ADDS.test(className)) return;
  for (const [field, value, id, tokens] of [
    ["add_bos_token", bos, ids.bos, added.before],
    ["add_eos_token", eos, ids.eos, added.after],
  ] as const) {
    if (value === undefined) continue;
    const expected = value === true && id !== undefined ? [id] : [];
    if (tokens.length === expected.length && tokens.every((each, at) => each === expected[at])) continue;
    throw invalidFile(
      path,
      `${field}: expected the tokens ${show(tokens)}, as tokenizer.json adds them, got ${show(value)}`,
    );
  }
}
