import { move, transferableSymbol, valueSymbol, workerData } from "piscina";
import { type ErrorCode, toLabelmillError } from "../errors.ts";
import { type EncodedTexts, loadTokenizer, type TextTokenizer } from "./tokenizer.ts";

/** What a thread answers. An error travels as data: cloned between threads, it would lose its code. */
export type PrepareAnswer = { encoded: EncodedTexts } | { error: { code: ErrorCode; message: string } };

let tokenizer: Promise<TextTokenizer> | undefined;

/** The task of the prepare pool: a slice's texts, with the model folder's tokenizer, which each thread loads once. */
export async function tokenize(texts: readonly string[]): Promise<PrepareAnswer> {
  try {
    tokenizer ??= loadTokenizer(workerData.modelDir);
    const encoded = (await tokenizer).encode(texts);
    const buffers = [encoded.ids.buffer, encoded.offsets.buffer, encoded.truncated.buffer];
    const answer: PrepareAnswer = { encoded };
    return move({ [transferableSymbol]: buffers, [valueSymbol]: answer }) as unknown as PrepareAnswer;
  } catch (error) {
    const { code, message } = toLabelmillError(error);
    return { error: { code, message } };
  }
}
