import { move } from "piscina";
import type { OutputOptions } from "../schemas/output.ts";
import { encodeDataFile } from "./data-file.ts";
import type { KeptColumn } from "./kept-columns.ts";

export type EncodeOrder = { pieces: readonly Uint8Array[]; output: OutputOptions; kept: readonly KeptColumn[] };

/** The work of a thread of the file encoder. */
export async function encode({ pieces, output, kept }: EncodeOrder): Promise<Uint8Array> {
  return move(await encodeDataFile(pieces, output, kept)) as Uint8Array;
}
