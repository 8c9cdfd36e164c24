import { join } from "node:path";
import { z } from "zod";
import { refusedField } from "./field-rules.ts";
import { invalidFile, type Json, parsed, readModelJson } from "./json.ts";
import { TOKENIZER_CONFIG_FIELDS } from "./text-fields.ts";

/** The limit of a model that has none in its files: BERT's. */
const DEFAULT_MAX_TOKENS = 512;
/** Texts for models with longer contexts are cut here. Some files have 1e30 for "no limit". */
const LARGEST_MAX_TOKENS = 8192;

/** Models whose first position is `pad_token_id + 1`: they have this many fewer positions than `max_position_embeddings`. */
const OFFSET_POSITIONS = new Set([
  ...["roberta", "robertaprelayernorm", "xlmroberta", "xlmrobertaxl", "xmod", "camembert", "data2vectext", "ibert"],
  ...["longformer", "luke", "mpnet", "lilt", "markuplm", "layoutlmv3", "esm"],
]);
/** The defaults of these models. */
const OFFSET_MODEL = { padId: 1, positions: 512 };

const TokenizerConfigSchema = z.looseObject({
  model_max_length: z.number().positive().optional(),
  max_len: z.number().positive().optional(),
  tokenizer_class: z.string().optional(),
});
const ConfigSchema = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).optional(),
  max_position_embeddings: z.int().positive().optional(),
  n_positions: z.int().positive().optional(),
  pad_token_id: z.int().nonnegative().optional(),
});

/** The most tokens of a text, and the padding token of config.json, if it has one. */
export type TokenLimits = {
  maxTokens: number;
  padId: number | undefined;
  config: Json;
  tokenizerConfig: Json;
};

/**
 * The limits of a model folder in the Hugging Face layout. `maxTokens` is `model_max_length`, limited by the model's positions and by
 * 8,192. It is 512 if the files have neither. Throws MODEL_INVALID, naming the file, if one is missing or broken.
 */
export async function readTokenLimits(dir: string): Promise<TokenLimits> {
  const path = join(dir, "tokenizer_config.json");
  const tokenizerConfig = parsed(await readModelJson(dir, "tokenizer_config.json"), path, TokenizerConfigSchema);
  const refused = refusedField(tokenizerConfig, TOKENIZER_CONFIG_FIELDS);
  if (refused) throw invalidFile(path, `${refused.field}: ${refused.problem}`);
  const config = parsed(await readModelJson(dir, "config.json"), join(dir, "config.json"), ConfigSchema);
  const hasOffset = isOffsetModel(config, tokenizerConfig);
  const padId = config.pad_token_id ?? (hasOffset ? OFFSET_MODEL.padId : undefined);
  const positions =
    config.max_position_embeddings ??
    config.n_positions ??
    (hasOffset ? OFFSET_MODEL.positions : Number.POSITIVE_INFINITY);
  const usable = hasOffset ? positions - (padId ?? 0) - 1 : positions;
  const limit = Math.min(usable, tokenizerConfig.model_max_length ?? tokenizerConfig.max_len ?? Infinity);
  // Values above a million mean "no limit" in these files.
  const maxTokens = limit > 1e6 ? DEFAULT_MAX_TOKENS : Math.min(Math.floor(limit), LARGEST_MAX_TOKENS);
  return { maxTokens, padId, config, tokenizerConfig };
}

/** Decides by the model's type, else by its architecture, else by its tokenizer, else by a padding token above 0. */
function isOffsetModel(
  { model_type: type, architectures, pad_token_id: padId = 0 }: z.infer<typeof ConfigSchema>,
  { tokenizer_class: tokenizer }: z.infer<typeof TokenizerConfigSchema>,
): boolean {
  const named = type ?? architectures?.[0]?.replace(/For\w+$/, "") ?? tokenizer?.replace(/Tokenizer(Fast)?$/, "");
  if (named === undefined) return padId > 0;
  return OFFSET_POSITIONS.has(named.toLowerCase().replaceAll(/[-_]/g, ""));
}
