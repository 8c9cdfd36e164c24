import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { messageOf } from "../../../errors.ts";
import { invalidFile, type Json, parsed, readModelJson } from "../json.ts";
import { readTokenLimits } from "../token-limits.ts";
import { addedTokens, checkSpecialMap, specialToken, tokenId } from "./added-tokens.ts";
import { checkAgreement, type PaddingSide, paddingSideOf } from "./config.ts";
import { adaptTokenizer } from "./pipeline.ts";

const TokenizerFileSchema = z.looseObject({
  model: z.looseObject({}),
  added_tokens: z.array(z.looseObject({ id: z.int().nonnegative(), content: z.string() })).default([]),
});

const SPECIAL_MAP = "special_tokens_map.json";

/** The checked contents of the files of a tokenizer. */
export type TokenizerFiles = {
  /** The most tokens of a text, including special tokens. */
  maxTokens: number;
  padId: number;
  paddingSide: PaddingSide;
  /** tokenizer.json and tokenizer_config.json, adapted to the tokenizer library. */
  file: Json;
  config: Json;
  /** The ids of the tokens of `add_bos_token` and `add_eos_token`. */
  bounds: { bos: number | undefined; eos: number | undefined };
};

/**
 * Reads `tokenizer.json`, `tokenizer_config.json` and `config.json` of a model's folder, without creating the tokenizer.
 * @throws LabelmillError MODEL_INVALID, naming the file and the field, if something is missing, broken or not supported
 */
export async function readTokenizerFiles(dir: string): Promise<TokenizerFiles> {
  const path = join(dir, "tokenizer.json");
  const file = parsed(await readModelJson(dir, "tokenizer.json"), path, TokenizerFileSchema);
  const { tokenizerConfig: config, maxTokens, padId } = await readTokenLimits(dir);
  const checked = within(join(dir, "tokenizer_config.json"), () => {
    checkAgreement(file, config);
    return { paddingSide: paddingSideOf(file, config), added_tokens: addedTokens(file, config) };
  });
  if (config.added_tokens_decoder === undefined && existsSync(join(dir, SPECIAL_MAP))) {
    const map = await readModelJson(dir, SPECIAL_MAP);
    within(join(dir, SPECIAL_MAP), () => checkSpecialMap(map, file, checked.added_tokens));
  }
  const whole = { ...file, added_tokens: checked.added_tokens };
  const id = (key: string) => tokenId(whole, specialToken(config, key));
  const unknown = file.model.type === "WordLevel" ? { unk_token: file.model.unk_token } : {};
  return {
    maxTokens,
    padId: padId ?? id("pad_token") ?? 0,
    paddingSide: checked.paddingSide,
    file: within(path, () => adaptTokenizer(whole)),
    config: { ...config, ...unknown },
    bounds: { bos: id("bos_token"), eos: id("eos_token") },
  };
}

/** Adds the path of the file to errors of `read`. */
function within<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidFile(path, messageOf(error), error);
  }
}
