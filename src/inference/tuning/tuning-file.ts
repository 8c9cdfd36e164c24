import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";

const positive = z.int().min(1).max(10_000_000);

/** The results of a search. They are stored, so that the next start need not search again. */
const TuningSchema = z.strictObject({
  v: z.literal(1),
  /** On the CPU only. */
  layout: z.strictObject({ threads: positive.max(1024), intraOpThreads: positive.max(1024) }).optional(),
  /** Padded cost of a batch, by the upper bound of the lengths that share the budget. */
  budgets: z.record(z.string().regex(/^\d+$/), positive),
  /** Batches of this padded cost ran out of memory. */
  tooLarge: positive.optional(),
});
export type Tuning = z.infer<typeof TuningSchema>;

/** @returns undefined if the file is missing or not valid: the search runs again then */
export async function readTuning(file: string): Promise<Tuning | undefined> {
  try {
    return TuningSchema.safeParse(JSON.parse(await readFile(file, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** Writes a temporary file and renames it, since several workers may share the file. Throws what the file system throws. */
export async function writeTuning(file: string, tuning: Tuning): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${randomBytes(4).toString("hex")}`;
  await writeFile(temporary, JSON.stringify(tuning));
  await rename(temporary, file);
}
