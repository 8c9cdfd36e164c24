import { isObject, type Json, show } from "../json.ts";

/** An added token of tokenizer.json: it is found in a text before the text is split. */
export type AddedToken = Json & { id: number; content: string };

/** The keys of tokenizer_config.json that name special tokens. */
const SPECIAL = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const MORE_SPECIAL = ["additional_special_tokens", "extra_special_tokens"];
/** The fields that determine how a token is found. */
const FLAGS = ["single_word", "lstrip", "rstrip", "normalized"] as const;

/**
 * The added tokens of a tokenizer: those of tokenizer.json, with the flags in `added_tokens_decoder` of tokenizer_config.json, and the
 * special tokens that only tokenizer_config.json names, if the vocabulary contains them.
 * Throws an Error that begins with the field, if a token is not supported.
 */
export function addedTokens(file: Json, config: Json): AddedToken[] {
  const tokens = new Map((file.added_tokens as AddedToken[]).map((token) => [token.content, { ...token }]));
  for (const [key, flags] of Object.entries(isObject(config.added_tokens_decoder) ? config.added_tokens_decoder : {}))
    addDecoded(tokens, file, Number(key), flags);
  for (const [, { content, ...flags }] of specialTokens(config)) {
    const id = tokens.has(content) ? undefined : vocabularyId(file, content);
    if (id !== undefined) tokens.set(content, { special: true, ...flags, id, content });
  }
  return [...tokens.values()];
}

/**
 * Checks that special_tokens_map.json names no token that the tokenizer would not find. The file is not part of a model's digest, so its
 * own tokens cannot be honoured. transformers reads it if tokenizer_config.json has no `added_tokens_decoder`.
 * Throws an Error that begins with the field.
 * @param tokens of the tokenizer
 */
export function checkSpecialMap(map: Json, file: Json, tokens: readonly AddedToken[]): void {
  const known = new Set(tokens.map(({ content }) => content));
  const unnamed = specialTokens(map).find(
    ([, { content }]) => !known.has(content) && vocabularyId(file, content) !== undefined,
  );
  if (unnamed === undefined) return;
  const [field, { content }] = unnamed;
  const expected = "a token that tokenizer.json or tokenizer_config.json names too";
  throw new Error(`${field}: expected ${expected}, got ${show(content)}: name it in tokenizer_config.json`);
}

/** Throws an Error that begins with the field, if a token has a flag that the tokenizer library does not support. */
export function checkAdded(file: Json): void {
  for (const { content, single_word: isWord } of file.added_tokens as AddedToken[])
    if (isWord === true)
      throw new Error(
        `added_tokens.single_word: expected false, got true for ${show(content)}: matching of whole words is not supported`,
      );
}

/** The id of a token by its text; undefined if no token has it. */
export function tokenId(file: Json, content: string | undefined): number | undefined {
  const added = (file.added_tokens as AddedToken[]).find((token) => token.content === content);
  return added?.id ?? (content === undefined ? undefined : vocabularyId(file, content));
}

/** The text of a special token of tokenizer_config.json, which may be an object with flags. */
export function specialToken(config: Json, key: string): string | undefined {
  const value = config[key];
  const content = isObject(value) ? value.content : value;
  return typeof content === "string" ? content : undefined;
}

function addDecoded(tokens: Map<string, AddedToken>, file: Json, id: number, flags: unknown): void {
  const { content } = isObject(flags) ? flags : {};
  const known = typeof content === "string" ? (tokens.get(content)?.id ?? vocabularyId(file, content)) : undefined;
  if (typeof content !== "string" || known !== id) {
    const expected = known === undefined ? "a token of tokenizer.json," : `the id ${known}, as in tokenizer.json,`;
    throw new Error(`added_tokens_decoder.${id}: expected ${expected} got ${show(flags)}`);
  }
  const before = tokens.get(content);
  const given = Object.fromEntries(
    FLAGS.flatMap((flag) => (isObject(flags) && flag in flags ? [[flag, flags[flag]]] : [])),
  );
  const special = (flags as Json).special ?? before?.special ?? false;
  tokens.set(content, { ...before, ...given, special, id, content });
}

/** Each special token that a file names, with the field that names it. */
function specialTokens(config: Json): [field: string, token: { content: string }][] {
  const listed = MORE_SPECIAL.flatMap((key): [string, unknown][] => {
    const value = config[key];
    const values = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    return values.map((each: unknown) => [key, each]);
  });
  const single = SPECIAL.map((key): [string, unknown] => [key, config[key]]);
  return [...single, ...listed].flatMap(([field, value]): [string, { content: string }][] => {
    if (typeof value === "string") return [[field, { content: value }]];
    return isObject(value) && typeof value.content === "string" ? [[field, { ...value, content: value.content }]] : [];
  });
}

function vocabularyId(file: Json, content: string): number | undefined {
  const { vocab } = file.model as Json;
  if (Array.isArray(vocab)) {
    const at = vocab.findIndex((entry: unknown) => Array.isArray(entry) && entry[0] === content);
    return at < 0 ? undefined : at;
  }
  const id = isObject(vocab) && Object.hasOwn(vocab, content) ? vocab[content] : undefined;
  return typeof id === "number" ? id : undefined;
}
