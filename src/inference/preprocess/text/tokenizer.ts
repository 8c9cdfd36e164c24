import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { messageOf } from "../../../errors.ts";
import { invalidFile } from "../../model/json.ts";
import { checkBounds } from "../../model/tokenizer/config.ts";
import { readTokenizerFiles } from "../../model/tokenizer/files.ts";

/** Texts as token ids, special tokens included: text i has `ids[offsets[i]]` up to, not including, `ids[offsets[i + 1]]`. */
export type EncodedTexts = {
  ids: Int32Array<ArrayBuffer>;
  /** One more entry than texts; the first one is 0. */
  offsets: Uint32Array<ArrayBuffer>;
  /** 1 if the text was cut. */
  truncated: Uint8Array<ArrayBuffer>;
};

export type TextTokenizer = {
  /** The most ids of a text, including special tokens. */
  maxTokens: number;
  padId: number;
  /** @param begin called with the index of each text before it is encoded */
  encode(texts: readonly string[], begin?: (at: number) => void): EncodedTexts;
};

/**
 * Only the first `32 × maxTokens` UTF-16 units of a text are read: five to eight times the ordinary text that fills a model.
 * Tokenizers work from left to right, and a cut changes only the ids of the word that it falls into. So if this part has more than
 * `maxTokens` ids, the first `maxTokens` are those of the whole text. If it has fewer (thousands of spaces in a row, a "word" of tens
 * of thousands of letters), the rest is ignored, and the text counts as truncated.
 */
const READ_CHARS_PER_TOKEN = 32;

/**
 * Sorting combining marks takes time that grows with the square of their number in a row (65,536 marks: 1.4 s), so only the first 256
 * in a row are kept. Characters that a normalizer deletes do not interrupt a row. BERT's ids stay the same: it deletes accents or,
 * without that, encodes a word of over 100 characters as one unknown token.
 */
const MARK_RUN = /[[\p{M}\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]--[\t\n\r]]+/gv;
const MARK_RUN_LENGTH = 256;

/**
 * Loads the tokenizer of a model folder in the Hugging Face layout: `tokenizer.json`, `tokenizer_config.json`, `config.json`.
 * `maxTokens` is that of `readTokenLimits`. Throws MODEL_INVALID, naming the file, if one is missing or broken.
 */
export async function loadTokenizer(dir: string): Promise<TextTokenizer> {
  const { file, config, padId, maxTokens, bounds } = await readTokenizerFiles(dir);
  const { tokenizer, before, after } = build(join(dir, "tokenizer.json"), file, config);
  checkBounds(join(dir, "tokenizer_config.json"), config, bounds, { before, after });
  const room = maxTokens - before.length - after.length;
  if (room < 1) {
    throw invalidFile(
      join(dir, "tokenizer_config.json"),
      `model_max_length: expected at least ${before.length + after.length + 1} (the special tokens and one of the text), got ${maxTokens}`,
    );
  }

  function encodeOne(text: string): { ids: number[]; truncated: boolean } {
    let part = text.slice(0, READ_CHARS_PER_TOKEN * maxTokens);
    if (tokenizer.normalizer !== null) part = part.replace(MARK_RUN, (run) => run.slice(0, MARK_RUN_LENGTH));
    const ids: number[] = tokenizer.encode(part, { add_special_tokens: false }).ids;
    const truncated = ids.length > room || part.length < text.length;
    if (ids.length > room) ids.length = room;
    return { ids: [...before, ...ids, ...after], truncated };
  }

  const encode: TextTokenizer["encode"] = (texts, begin) =>
    pack(
      texts.map((text, at) => {
        begin?.(at);
        return encodeOne(text);
      }),
    );
  return { maxTokens, padId, encode };
}

function pack(texts: readonly { ids: number[]; truncated: boolean }[]): EncodedTexts {
  const offsets = new Uint32Array(texts.length + 1);
  texts.forEach(({ ids }, i) => {
    offsets[i + 1] = offsets[i]! + ids.length;
  });
  const packed = new Int32Array(offsets[texts.length]!);
  const truncated = new Uint8Array(texts.length);
  texts.forEach((text, i) => {
    packed.set(text.ids, offsets[i]!);
    truncated[i] = Number(text.truncated);
  });
  return { ids: packed, offsets, truncated };
}

/** Creates the tokenizer, and finds the special tokens that it adds before and after a text by encoding one. */
function build(
  path: string,
  file: object,
  config: object,
): { tokenizer: Tokenizer; before: number[]; after: number[] } {
  try {
    const tokenizer = new Tokenizer(file, config);
    const bare: number[] = tokenizer.encode("a", { add_special_tokens: false }).ids;
    const whole: number[] = tokenizer.encode("a").ids;
    // A word that is not in the vocabulary must become the unknown token, or nothing.
    const known = tokenizer.encode("a 𓁏").ids.every(Number.isInteger);
    if (!known) throw new Error("one without an id for words that are not in its vocabulary");
    for (let start = 0; bare.length > 0 && start <= whole.length - bare.length; start++) {
      if (!bare.every((id, i) => id === whole[start + i])) continue;
      return { tokenizer, before: whole.slice(0, start), after: whole.slice(start + bare.length) };
    }
    throw new Error(
      `one that encodes the letter "a" as ${JSON.stringify(bare)}, and with special tokens as ${JSON.stringify(whole)}`,
    );
  } catch (error) {
    throw invalidFile(path, `expected a tokenizer that works, got: ${messageOf(error)}`, error);
  }
}
