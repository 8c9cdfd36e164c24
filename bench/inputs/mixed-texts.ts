import type { TextTokenizer } from "../../src/inference/preprocess/text/tokenizer.ts";

/** Number of texts of different lengths. Each pass contains all of them. */
export const MIXED_TEXTS = 128;
const LONGEST = 400;
/** Of a log-normal distribution; cut off at LONGEST, its mean is 64. */
const MEDIAN = 42.5;
const SPREAD = 0.94;
/** Tokens of the two special tokens and of the number at the end of a text. */
const OVERHEAD = 4;

/**
 * Texts of whole sentences and the beginning of another: many short ones, few long ones, as reviews are. Their lengths in
 * tokens are the quantiles of a log-normal distribution, in rising order.
 */
export function composeMixed(sentences: readonly string[], tokenizer: TextTokenizer): string[] {
  const words = sentences.flatMap((sentence) => sentence.split(/\s+/).filter((word) => word !== ""));
  const { offsets } = tokenizer.encode(words);
  const tokensOf = (word: number) => offsets[word + 1]! - offsets[word]! - 2;
  let next = 0;
  return Array.from({ length: MIXED_TEXTS }, (_, at) => {
    const length = Math.min(LONGEST, Math.round(MEDIAN * Math.exp(SPREAD * normalQuantile((at + 0.5) / MIXED_TEXTS))));
    const text: string[] = [];
    for (let left = Math.max(1, length - OVERHEAD); left > 0; next = (next + 1) % words.length) {
      if (text.length > 0 && tokensOf(next) > left) break;
      text.push(words[next]!);
      left -= tokensOf(next);
    }
    return text.join(" ");
  });
}

/** Abramowitz and Stegun 26.2.23, to 5e-4. */
function normalQuantile(share: number): number {
  if (share > 0.5) return -normalQuantile(1 - share);
  const t = Math.sqrt(-2 * Math.log(share));
  const above = 2.515517 + 0.802853 * t + 0.010328 * t ** 2;
  return above / (1 + 1.432788 * t + 0.189269 * t ** 2 + 0.001308 * t ** 3) - t;
}
