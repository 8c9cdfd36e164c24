import { LabelmillError, toLabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { OUTPUT_FORMATS } from "../../schemas/output.ts";

const OF_OUTPUTS: ReadonlySet<string> = new Set(OUTPUT_FORMATS);

/**
 * Opens an input. If it cannot be read in the given format, and outputs can have that format too, the error says how to set the format of
 * the output: the two options are easily confused.
 */
export async function withFormatHint<T>({ format }: ReadOptions, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const { code, message, cause, retryable } = toLabelmillError(error);
    if (code !== "INPUT_UNREADABLE" || !OF_OUTPUTS.has(format)) throw error;
    const hint = `--format names the input's format; for ${format} results, use --output-format ${format} (in a spec, output.format)`;
    throw new LabelmillError(code, `${message}; ${hint}`, { cause, retryable });
  }
}
