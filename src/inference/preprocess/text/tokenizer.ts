import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { messageOf } from "../../../errors.ts";
import { invalidFile } from "../../model/json.ts";
import { checkBounds } from "../../model/tokenizer/config.ts";
import { readTokenizerFiles } from "../../model/tokenizer/files.ts";

/** Texts as token ids, special tokens included: text i has `ids[offsets[i]]` up to, not including, `ids[offsets[i + 1]]`. */
export type EncodedTexts = {
  ids: Int32Array<ArrayBuffer>;
  /** One more than there are texts; the first is 0. */
  offsets: Uint32Array<ArrayBuffer>;
  /** 1 where something of the text was left out. */
  truncated: Uint8Array<ArrayBuffer>;
};

export type TextTokenizer = {
  /** The most ids of a text, special tokens included. */
  maxTokens: number;
  padId: number;
  /** @param begin told the place of each text before it is encoded */
  encode(texts: readonly string[], begin?: (at: number) => void): EncodedTexts;
};

/**
 * Only the first `32 × maxTokens` UTF-16 units of a text are read: five to eight times what fills a model with ordinary
 * text. Tokenizers work from left to right, and a cut changes ids only in the word that it falls into, so the first
 * `maxTokens` ids are those of the whole text wherever the part gives some more than `maxTokens`. Where it gives fewer
 * (thousands of blanks in a row, a "word" of tens of thousands of letters), what lies behind is left out, and the text
 * counts as truncated.
 */
const READ_CHARS_PER_TOKEN = 32;

/**
 * Bringing combining marks into their order takes time with the square of their run's length (65,536 marks: 1.4 s), so
 * of a run the first 256 are kept. Characters that a normalizer deletes do not end a run. BERT's ids stay the same: it
 * deletes accents, and without that takes a word of over 100 characters for one unknown token.
 */
const MARK_RUN = /[[\p{M}\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]--[\t\n\r]]+/gv;
const MARK_RUN_LENGTH = 256;

/**
 * The tokenizer of a model folder in the Hugging Face layout: `tokenizer.json`, `tokenizer_config.json`, `config.json`.
 * `maxTokens` is `model_max_length`, bounded by the positions that the model has and by 8,192; 512 where neither is said.
 * Throws MODEL_INVALID, naming the file, for one that is missing or broken.
 */
export async function loadTokenizer(dir: string): Promise<TextTokenizer> {
  const { file, config, padId, maxTokens, bounds } = await readTokenizerFiles(dir);
  const { tokenizer, before, after } = build(join(dir, "tokenizer.json"), file, config);
  checkBounds(join(dir, "tokenizer_config.json"), config, bounds, { before, after });
  const room = maxTokens - before.length - after.length;
  if (room < 1) {
    throw invalidFile(join(dir, "tokenizer_config.json"), `model_max_length: ${maxTokens} leaves no room for a text`);
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

/** The tokenizer, with the special tokens that it puts before and after a text: found by trying, whatever their kind. */
function build(
  path: string,
  file: object,
  config: object,
): { tokenizer: Tokenizer; before: number[]; after: number[] } {
  try {
    const tokenizer = new Tokenizer(file, config);
    const bare: number[] = tokenizer.encode("a", { add_special_tokens: false }).ids;
    const whole: number[] = tokenizer.encode("a").ids;
    // What is in no vocabulary must come out as the token for it, or as nothing.
    const known = tokenizer.encode("a 𓁏").ids.every(Number.isInteger);
    if (!known) throw new Error("no id for words that are not in its vocabulary");
    for (let start = 0; bare.length > 0 && start <= whole.length - bare.length; start++) {
      if (!bare.every((id, i) => id === whole[start + i])) continue;
      return { tokenizer, before: whole.slice(0, start), after: whole.slice(start + bare.length) };
    }
    throw new Error(
      `the letter "a" comes out as ${JSON.stringify(bare)}, with special tokens as ${JSON.stringify(whole)}`,
    );
  } catch (error) {
    throw invalidFile(path, `expected a tokenizer that works, got: ${messageOf(error)}`, error);
  }
}
