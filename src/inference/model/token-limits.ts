import { join } from "node:path";
import { z } from "zod";
import { refusedField } from "./field-rules.ts";
import { invalidFile, type Json, parsed, readModelJson } from "./json.ts";
import { TOKENIZER_CONFIG_FIELDS } from "./text-fields.ts";

/** What a model that names no limit is given: BERT's. */
const DEFAULT_MAX_TOKENS = 512;
/** Longer contexts are read up to here; some files say 1e30 for "no limit". */
const LARGEST_MAX_TOKENS = 8192;

/** Models whose first position is `pad_token_id + 1`: they have that many fewer positions than `max_position_embeddings`. */
const OFFSET_POSITIONS = new Set([
  ...["roberta", "robertaprelayernorm", "xlmroberta", "xlmrobertaxl", "xmod", "camembert", "data2vectext", "ibert"],
  ...["longformer", "luke", "mpnet", "lilt", "markuplm", "layoutlmv3", "esm"],
]);
/** What these models have where their files say nothing of it. */
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

/** How many tokens a text model takes, and what fills up those of short texts, if its configuration says so. */
export type TokenLimits = {
  maxTokens: number;
  padId: number | undefined;
  config: Json;
  tokenizerConfig: Json;
};

/**
 * The limits of a model folder in the Hugging Face layout: `maxTokens` is `model_max_length`, bounded by the positions that the model
 * has and by 8,192; 512 where neither is said. Throws MODEL_INVALID, naming the file, for one that is missing or broken.
 */
export async function readTokenLimits(dir: string): Promise<TokenLimits> {
  const path = join(dir, "tokenizer_config.json");
  const tokenizerConfig = parsed(await readModelJson(dir, "tokenizer_config.json"), path, TokenizerConfigSchema);
  const refused = refusedField(tokenizerConfig, TOKENIZER_CONFIG_FIELDS);
  if (refused) throw invalidFile(path, `${refused.field}: ${refused.problem}`);
  const config = parsed(await readModelJson(dir, "config.json"), join(dir, "config.json"), ConfigSchema);
  const hasOffset = isOffsetModel(config, tokenizerConfig);
  const padId = config.pad_token_id ?? (hasOffset ? OFFSET_MODEL.padId : undefined);
  const said = config.max_position_embeddings ?? config.n_positions;
  const positions = said ?? (hasOffset ? OFFSET_MODEL.positions : Number.POSITIVE_INFINITY);
  const usable = hasOffset ? positions - (padId ?? 0) - 1 : positions;
  const limit = Math.min(usable, tokenizerConfig.model_max_length ?? tokenizerConfig.max_len ?? Infinity);
  // Above a million it is no limit but the way these files say "none".
  const maxTokens = limit > 1e6 ? DEFAULT_MAX_TOKENS : Math.min(Math.floor(limit), LARGEST_MAX_TOKENS);
  return { maxTokens, padId, config, tokenizerConfig };
}

/** By its type, or else its architecture, or else its tokenizer. Of a model that says none of them, a padding token above 0 is a sign. */
function isOffsetModel(
  { model_type: type, architectures, pad_token_id: padId = 0 }: z.infer<typeof ConfigSchema>,
  { tokenizer_class: tokenizer }: z.infer<typeof TokenizerConfigSchema>,
): boolean {
  const named = type ?? architectures?.[0]?.replace(/For\w+$/, "") ?? tokenizer?.replace(/Tokenizer(Fast)?$/, "");
  if (named === undefined) return padId > 0;
  return OFFSET_POSITIONS.has(named.toLowerCase().replaceAll(/[-_]/g, ""));
}
