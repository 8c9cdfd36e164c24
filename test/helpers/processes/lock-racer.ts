/** A process that takes and leaves the lock of an output as its parent says. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError } from "../../../src/errors.ts";
import type { OutputLock } from "../../../src/storage/lease/lock.ts";
import { lockOutput } from "../../../src/storage/lease/output-lock.ts";
import { deadHolder, writeHolder } from "../lock-files.ts";

export type RacerOrder =
  /** Takes the lock and keeps it: answers `won` or the error's code. */
  | { do: "lock" }
  | { do: "release" }
  /**
   * Takes the lock again and again, and while it has it, makes sure that nobody else does; then leaves it, released or as
   * a killed command leaves it. Answers with how often it had the lock and how often others were there with it.
   */
  | { do: "contend"; tries: number };

const folder = process.argv[2]!;
let held: OutputLock | undefined;

process.on("message", async (order: RacerOrder) => process.send!(await obey(order)));
process.send!("ready");

async function obey(order: RacerOrder): Promise<unknown> {
  if (order.do === "contend") return contend(order.tries);
  if (order.do === "release") {
    await held!.release();
    return "released";
  }
  try {
    held = await lockOutput(folder);
    return "won";
  } catch (error) {
    return error instanceof LabelmillError ? error.code : String(error);
  }
}

async function contend(tries: number): Promise<{ wins: number; others: number; errors: string[] }> {
  const result = { wins: 0, others: 0, errors: [] as string[] };
  const witness = join(folder, "witness");
  for (let i = 0; i < tries; i += 1) {
    try {
      const lock = await lockOutput(folder);
      result.wins += 1;
      try {
        await (await open(witness, "wx")).close();
        await rm(witness);
      } catch {
        result.others += 1;
      }
      // As if this process had been killed: the next one finds a dead holder's lock.
      if (Math.random() < 0.7) await writeHolder(folder, deadHolder());
      await lock.release();
    } catch (error) {
      if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_LOCKED") result.errors.push(String(error));
    }
  }
  return result;
}
