import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";

const positive = z.int().min(1).max(10_000_000);

/** What a search came to: remembered, so that the next start need not search again. */
export const TuningSchema = z.strictObject({
  v: z.literal(1),
  /** Of the CPU. */
  layout: z.strictObject({ threads: positive.max(1024), intraOpThreads: positive.max(1024) }).optional(),
  /** Padded cost of a batch, by the longest of its lengths. */
  budgets: z.record(z.string().regex(/^\d+$/), positive),
  /** Batches of this padded cost found no memory. */
  tooLarge: positive.optional(),
});
export type Tuning = z.infer<typeof TuningSchema>;

/** @returns undefined where there is none, or none that can be read: it is found again then */
export async function readTuning(file: string): Promise<Tuning | undefined> {
  try {
    return TuningSchema.safeParse(JSON.parse(await readFile(file, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** Written aside and moved into place: workers that start together share the file. Throws what the file system throws. */
export async function writeTuning(file: string, tuning: Tuning): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const aside = `${file}.${randomBytes(4).toString("hex")}`;
  await writeFile(aside, JSON.stringify(tuning));
  await rename(aside, file);
}
