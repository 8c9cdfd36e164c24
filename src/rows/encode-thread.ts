import { move } from "piscina";
import type { OutputOptions } from "../schemas/output.ts";
import { encodeFile } from "./file-rows.ts";
import type { KeptColumn } from "./parquet-file.ts";

export type EncodeOrder = { pieces: readonly Uint8Array[]; output: OutputOptions; kept: readonly KeptColumn[] };

/** The task of the file encoder's threads. */
export async function encode({ pieces, output, kept }: EncodeOrder): Promise<Uint8Array> {
  return move(await encodeFile(pieces, output, kept)) as Uint8Array;
}
