import { z } from "zod";
import { readModelFile } from "./model-json.ts";

/** What a model that names no limit is given: BERT's. */
const DEFAULT_MAX_TOKENS = 512;
/** Longer contexts are read up to here; some files say 1e30 for "no limit". */
const LARGEST_MAX_TOKENS = 8192;

/** Models whose first position is `pad_token_id + 1`: they have that many fewer positions than `max_position_embeddings`. */
const OFFSET_POSITIONS = new Set([
  "roberta",
  "roberta-prelayernorm",
  "xlm-roberta",
  "xlm-roberta-xl",
  "xmod",
  "camembert",
  "data2vec-text",
  "ibert",
  "longformer",
  "luke",
  "mpnet",
]);

const TokenizerConfigSchema = z.looseObject({
  model_max_length: z.number().positive().nullish(),
  truncation_side: z.literal("right").nullish(),
});
const ConfigSchema = z.looseObject({
  model_type: z.string().nullish(),
  max_position_embeddings: z.int().positive().nullish(),
  pad_token_id: z.int().nonnegative().nullish(),
});

/** How many tokens a text model takes, and what fills up those of short texts. */
export type TokenLimits = {
  maxTokens: number;
  padId: number;
  tokenizerConfig: z.infer<typeof TokenizerConfigSchema>;
};

/**
 * The limits of a model folder in the Hugging Face layout: `maxTokens` is `model_max_length`, bounded by the positions that the model
 * has and by 8,192; 512 where neither is said. Throws MODEL_INVALID, naming the file, for one that is missing or broken.
 */
export async function readTokenLimits(dir: string): Promise<TokenLimits> {
  const tokenizerConfig = await readModelFile(dir, "tokenizer_config.json", TokenizerConfigSchema);
  const config = await readModelFile(dir, "config.json", ConfigSchema);
  const padId = config.pad_token_id ?? 0;
  return { maxTokens: maxTokensOf(config, tokenizerConfig, padId), padId, tokenizerConfig };
}

function maxTokensOf(
  config: z.infer<typeof ConfigSchema>,
  tokenizerConfig: z.infer<typeof TokenizerConfigSchema>,
  padId: number,
): number {
  const positions = config.max_position_embeddings ?? Number.POSITIVE_INFINITY;
  const usable = OFFSET_POSITIONS.has(config.model_type ?? "") ? positions - padId - 1 : positions;
  const limit = Math.min(usable, tokenizerConfig.model_max_length ?? Number.POSITIVE_INFINITY);
  // Above a million it is no limit but the way these files say "none".
  return limit > 1e6 ? DEFAULT_MAX_TOKENS : Math.min(Math.floor(limit), LARGEST_MAX_TOKENS);
}
