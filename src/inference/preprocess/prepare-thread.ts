import { threadId } from "node:worker_threads";
import { move, transferableSymbol, valueSymbol, workerData } from "piscina";
import { type ErrorCode, toLabelmillError } from "../../errors.ts";
import { type Progress, recordText, recordThread } from "./text/text-watchdog.ts";
import { type EncodedTexts, loadTokenizer, type TextTokenizer } from "./text/tokenizer.ts";

export type PrepareTask = { texts: readonly string[]; progress: Progress };

/**
 * A thread's answer. An error is sent as data: cloned between threads, it would lose its code. `failedAt` is the index of the text on
 * which the tokenizer failed; undefined if the tokenizer could not be loaded.
 */
export type PrepareAnswer =
  | { encoded: EncodedTexts }
  | { failedAt?: number; error: { code: ErrorCode; message: string } };

let tokenizer: Promise<TextTokenizer> | undefined;

/** Encodes texts with the tokenizer of the model folder, which each thread loads once. */
export async function tokenize({ texts, progress }: PrepareTask): Promise<PrepareAnswer> {
  let failedAt: number | undefined;
  try {
    recordThread(progress, threadId);
    tokenizer ??= loadTokenizer(workerData.modelDir);
    const encoded = (await tokenizer).encode(texts, (at) => {
      failedAt = at;
      recordText(progress, at);
    });
    const buffers = [encoded.ids.buffer, encoded.offsets.buffer, encoded.truncated.buffer];
    const answer: PrepareAnswer = { encoded };
    return move({ [transferableSymbol]: buffers, [valueSymbol]: answer }) as unknown as PrepareAnswer;
  } catch (error) {
    const { code, message } = toLabelmillError(error);
    return { ...(failedAt === undefined ? {} : { failedAt }), error: { code, message } };
  }
}
