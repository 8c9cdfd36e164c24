import { refusedField } from "../field-rules.ts";
import { isObject, type Json, show } from "../json.ts";
import { MODEL_FIELDS, TOKENIZER_FIELDS } from "../text-fields.ts";
import { checkAdded, tokenId } from "./added-tokens.ts";
import { differenceToNfkc } from "./charsmap.ts";

/** The tokenizer library requires these keys. */
const ABSENT_COMPONENTS = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };

/** Rust's `\w`, `\s` and punctuation as JavaScript classes. */
const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d";
const SPACE = "\\p{White_Space}";
const PUNCTUATION = "[\\p{P}\\u0021-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u007e]";

/**
 * Adapts tokenizer.json to the tokenizer library (@huggingface/tokenizers), so that its results are those of the reference, Hugging Face's
 * tokenizers in Rust. Components that the library interprets differently are replaced by equivalent ones.
 * Throws an Error that begins with the field, if the library does not support a component.
 */
export function adaptTokenizer(file: Json): Json {
  const refused = refusedField(file, TOKENIZER_FIELDS);
  if (refused) throw new Error(`${refused.field}: ${refused.problem}`);
  checkAdded(file);
  if (isObject(file.normalizer)) checkNormalizer(file.normalizer);
  const { pre_tokenizer: preTokenizer, post_processor: postProcessor } = file;
  if (isObject(postProcessor)) checkPostProcessor(postProcessor, file);
  return {
    ...ABSENT_COMPONENTS,
    ...file,
    ...(isObject(preTokenizer) && { pre_tokenizer: adaptPreTokenizer(preTokenizer) }),
    model: adaptModel(file.model as Json),
  };
}

/** The library has no equivalent of tables that do more than NFKC, such as lowercasing. */
function checkNormalizer(part: Json): void {
  const { type, normalizers, precompiled_charsmap: table } = part;
  for (const each of type === "Sequence" && Array.isArray(normalizers) ? normalizers : [])
    checkNormalizer(each as Json);
  if (type !== "Precompiled") return;
  const field = "normalizer.precompiled_charsmap";
  if (typeof table !== "string") throw new Error(`${field}: expected a table, got ${show(table)}`);
  const character = differenceToNfkc(table);
  if (character === undefined) return;
  throw new Error(`${field}: expected a table for NFKC, got one that maps ${show(character)} differently`);
}

function adaptModel(model: Json): Json {
  const type = typeof model.type === "string" ? model.type : typeOf(model);
  const rules = Object.hasOwn(MODEL_FIELDS, type) ? MODEL_FIELDS[type] : undefined;
  if (!rules) throw new Error(`model.type: expected ${Object.keys(MODEL_FIELDS).join(", ")}, got ${show(type)}`);
  const refused = refusedField(model, rules);
  if (refused) throw new Error(`model.${refused.field}: ${refused.problem}`);
  const usual = type === "WordPiece" ? { unk_token: "[UNK]", continuing_subword_prefix: "##" } : {};
  return { ...usual, ...model, type };
}

/** The type of a model in an older file, which does not contain it. */
function typeOf(model: Json): string {
  if (Array.isArray(model.vocab)) return "Unigram";
  if (model.merges !== undefined) return "BPE";
  return model.continuing_subword_prefix === undefined ? "WordLevel" : "WordPiece";
}

function adaptPreTokenizer(part: Json): Json {
  switch (part.type) {
    case "Sequence": {
      const parts = Array.isArray(part.pretokenizers) ? part.pretokenizers : [];
      return { ...part, pretokenizers: parts.map((each) => adaptPreTokenizer(each as Json)) };
    }
    case "Whitespace":
      return matching(`[${WORD}]+|[^${WORD}${SPACE}]+`);
    case "WhitespaceSplit":
      return matching(`[^${SPACE}]+`);
    case "Punctuation":
      return splitting(PUNCTUATION, part.behavior ?? "Isolated", false);
    case "Digits":
      return splitting("\\p{N}", part.individual_digits === true ? "Isolated" : "Contiguous", false);
    case "Split":
      return splitting(sourceOf(part.pattern), part.behavior ?? "Isolated", part.invert === true);
    case "Metaspace":
      return adaptMetaspace(part);
    case "FixedLength":
    case "Replace":
      throw new Error(`pre_tokenizer.type: expected a supported type, got ${show(part.type)}`);
    default:
      return part;
  }
}

/** Splits a text at the matches of a pattern, with one of the behaviors of the reference. */
function splitting(pattern: string, behavior: unknown, invert: boolean): Json {
  const other = `(?!${pattern})[\\s\\S]`;
  if (behavior === "Removed") return invert ? matching(pattern) : split(pattern, "Removed");
  if (behavior === "Isolated") return split(pattern, "Isolated");
  if (behavior === "Contiguous") return split(`(?:${pattern})+`, "Isolated");
  if (behavior === "MergedWithPrevious" && !invert) return matching(`(?:${other})*(?:${pattern})|(?:${other})+`);
  if (behavior === "MergedWithNext" && !invert) return matching(`(?:${pattern})(?:${other})*|(?:${other})+`);
  const got = `${show(behavior)}${invert ? " with invert" : ""}`;
  throw new Error(`pre_tokenizer.behavior: expected a supported behavior, got ${got}`);
}

function split(pattern: string, behavior: string): Json {
  return { type: "Split", pattern: { Regex: pattern }, behavior, invert: false };
}

/** The parts of a text are the matches; the rest is removed. */
function matching(pattern: string): Json {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true };
}

function sourceOf(pattern: unknown): string {
  const { Regex: regex, String: text } = isObject(pattern) ? pattern : {};
  if (typeof regex === "string") return regex;
  if (typeof text === "string" && text !== "") return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  throw new Error(`pre_tokenizer.pattern: expected a Regex or a String, got ${show(pattern)}`);
}

/** Splits a text before each replaced space. */
function adaptMetaspace({ split: isSplit, ...part }: Json): Json {
  if (part.add_prefix_space === false && part.prepend_scheme !== "never")
    throw new Error('pre_tokenizer.add_prefix_space: expected true, or "never" as prepend_scheme, got false');
  if (isSplit === false) return part;
  const mark = sourceOf({ String: part.replacement ?? "\u2581" });
  return { type: "Sequence", pretokenizers: [part, splitting(mark, "MergedWithNext", false)] };
}

/** The library looks up the ids of added tokens in the vocabulary, and models get the token type 0 only. */
function checkPostProcessor(part: Json, file: Json): void {
  const checkIds = (field: string, content: unknown, ids: unknown) => {
    const id = tokenId(file, String(content));
    if (!Array.isArray(ids) || ids.length !== 1 || ids[0] !== id)
      throw new Error(`post_processor.${field}: expected the id ${show(id)} of ${show(content)}, got ${show(ids)}`);
  };
  const { processors, single, special_tokens: special } = part;
  if (part.type === "Sequence" && Array.isArray(processors))
    for (const each of processors) checkPostProcessor(each as Json, file);
  for (const field of ["cls", "sep"])
    if (Array.isArray(part[field])) checkIds(field, part[field][0], part[field].slice(1));
  for (const piece of Array.isArray(single) ? single : []) {
    const [kind, content] = isObject(piece) ? (Object.entries(piece)[0] ?? []) : [];
    const { id, type_id: type = 0 } = isObject(content) ? content : {};
    if (type !== 0) throw new Error(`post_processor.single: expected the token type 0 only, got ${show(type)}`);
    if (kind === "SpecialToken") {
      const known = isObject(special) && isObject(special[String(id)]) ? (special[String(id)] as Json).ids : undefined;
      checkIds("special_tokens", id, known);
    }
  }
}
