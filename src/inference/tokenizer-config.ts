import { invalidFile, isObject, type Json, show } from "./model-json.ts";

/** Tokenizers that take `do_lower_case` and its like from tokenizer_config.json, over what tokenizer.json says. */
const BERT =
  /^(Bert|DistilBert|MobileBert|Electra|ConvBert|Funnel|LayoutLM|LayoutLMv2|Lxmert|MPNet|RetriBert|Splinter|SqueezeBert)Tokenizer(Fast)?$/;
/** The same with `add_prefix_space`. */
const BYTE_LEVEL = /^(GPT2|Roberta|Longformer|Bart|LED|Luke|Deberta|Mvp|Blenderbot)Tokenizer(Fast)?$/;
/** Tokenizers that pad on the left unless they are told otherwise. */
const LEFT = /^(Llama|CodeLlama|Gemma|Cohere|XLNet|Siglip2)Tokenizer(Fast)?$/;

/** On which side short texts are filled up. */
export type PaddingSide = "left" | "right";

/** @returns what tokenizer_config.json says, or else tokenizer.json, or else the class. Throws an Error for another word. */
export function paddingSideOf(file: Json, config: Json): PaddingSide {
  const side = config.padding_side;
  if (side === "left" || side === "right") return side;
  if (side !== undefined) throw new Error(`padding_side: expected "left" or "right", got ${show(side)}`);
  const direction = isObject(file.padding) ? file.padding.direction : undefined;
  if (direction !== undefined) return direction === "Left" ? "left" : "right";
  return LEFT.test(String(config.tokenizer_class)) ? "left" : "right";
}

/**
 * Checks that tokenizer_config.json does not say something else than tokenizer.json: implementations differ in which they take.
 * Throws an Error that begins with the field.
 */
export function checkAgreement(file: Json, config: Json): void {
  const { normalizer, pre_tokenizer: preTokenizer } = file;
  const className = typeof config.tokenizer_class === "string" ? config.tokenizer_class : "";
  if (isObject(normalizer) && normalizer.type === "BertNormalizer" && (className === "" || BERT.test(className)))
    checkBert(normalizer, config, className);
  if (isObject(preTokenizer) && preTokenizer.type === "ByteLevel" && (className === "" || BYTE_LEVEL.test(className)))
    agree(
      "add_prefix_space",
      className === "" ? config.add_prefix_space : (config.add_prefix_space ?? false),
      preTokenizer.add_prefix_space ?? false,
      className,
    );
}

function checkBert(normalizer: Json, config: Json, className: string): void {
  // What the class has where the file says nothing; without a class, nothing.
  const usual = className === "" ? {} : { do_lower_case: true, tokenize_chinese_chars: true };
  const said = { ...usual, ...config } as Json;
  const lowercase = normalizer.lowercase ?? true;
  agree("do_lower_case", said.do_lower_case, lowercase, className);
  agree("tokenize_chinese_chars", said.tokenize_chinese_chars, normalizer.handle_chinese_chars ?? true, className);
  const strips = normalizer.strip_accents ?? lowercase;
  agree("strip_accents", said.strip_accents ?? (className === "" ? undefined : lowercase), strips, className);
}

function agree(field: string, said: unknown, expected: unknown, className: string): void {
  if (said === undefined || said === expected) return;
  const by = className === "" ? "" : ` by ${className}`;
  throw new Error(
    `${field}: expected ${show(expected)}, as tokenizer.json has it, got ${show(said)}${by}: make them the same`,
  );
}

/**
 * Checks what is added before and after each text against `add_bos_token` and `add_eos_token`.
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
  if (bos === undefined && eos === undefined) return;
  for (const [field, said, id, tokens] of [
    ["add_bos_token", bos, ids.bos, added.before],
    ["add_eos_token", eos, ids.eos, added.after],
  ] as const) {
    const expected = said === true && id !== undefined ? [id] : [];
    if (tokens.length === expected.length && tokens.every((each, at) => each === expected[at])) continue;
    throw invalidFile(
      path,
      `${field}: expected what tokenizer.json adds, the tokens ${show(tokens)}, got ${show(said)}`,
    );
  }
}
