import { invalidFile, isObject, type Json, show } from "../json.ts";

/** Tokenizers that take `do_lower_case` and its like from tokenizer_config.json, over what tokenizer.json says. */
const BERT =
  /^(Bert|DistilBert|MobileBert|Electra|ConvBert|Funnel|LayoutLM|LayoutLMv2|Lxmert|MPNet|RetriBert|Splinter|SqueezeBert)Tokenizer(Fast)?$/;
/** The same with `add_prefix_space`. */
const BYTE_LEVEL = /^(GPT2|Roberta|Longformer|Bart|LED|Luke|Deberta|Mvp|Blenderbot)Tokenizer(Fast)?$/;
/** Tokenizers that make of `add_bos_token` and `add_eos_token` what they add; the others only store them. (transformers 4) */
const ADDS = /^(Llama|CodeLlama|Gemma|Cohere|GPTNeoX)Tokenizer(Fast)?$/;
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
  const className = classOf(config);
  if (isObject(normalizer) && normalizer.type === "BertNormalizer" && (className === "" || BERT.test(className)))
    checkBert(normalizer, config, className);
  if (isObject(preTokenizer) && preTokenizer.type === "ByteLevel" && (className === "" || BYTE_LEVEL.test(className)))
    agree(config, className, "add_prefix_space", preTokenizer.add_prefix_space ?? false, false);
}

function checkBert(normalizer: Json, config: Json, className: string): void {
  const lowercase = normalizer.lowercase ?? true;
  agree(config, className, "do_lower_case", lowercase, true);
  agree(config, className, "tokenize_chinese_chars", normalizer.handle_chinese_chars ?? true, true);
  agree(config, className, "strip_accents", normalizer.strip_accents ?? lowercase, lowercase);
}

/** @param usual what the class has where the file does not say it; without a class, nothing */
function agree(config: Json, className: string, field: string, expected: unknown, usual: unknown): void {
  const said = config[field];
  if (said === expected || (said === undefined && (className === "" || usual === expected))) return;
  const [got, fix] =
    said === undefined
      ? [
          `nothing, which is ${show(usual)} in ${className}`,
          `if tokenizer.json is right, add "${field}": ${show(expected)}`,
        ]
      : [show(said), "make them the same"];
  throw new Error(`${field}: expected ${show(expected)}, as tokenizer.json has it, got ${got}: ${fix}`);
}

/** @returns the name in `tokenizer_class`, or "" */
function classOf({ tokenizer_class: name }: Json): string {
  return typeof name === "string" ? name : "";
}

/**
 * Checks what is added before and after each text against `add_bos_token` and `add_eos_token`, each where the file has it.
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
  for (const [field, said, id, tokens] of [
    ["add_bos_token", bos, ids.bos, added.before],
    ["add_eos_token", eos, ids.eos, added.after],
  ] as const) {
    if (said === undefined) continue;
    const expected = said === true && id !== undefined ? [id] : [];
    if (tokens.length === expected.length && tokens.every((each, at) => each === expected[at])) continue;
    throw invalidFile(
      path,
      `${field}: expected what tokenizer.json adds, the tokens ${show(tokens)}, got ${show(said)}`,
    );
  }
}
