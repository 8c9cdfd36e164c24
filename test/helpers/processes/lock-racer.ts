/** A process that takes and releases the lock of an output, on orders of its parent. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError } from "../../../src/errors.ts";
import type { OutputLock } from "../../../src/storage/lease/lock.ts";
import { lockOutput } from "../../../src/storage/lease/output-lock.ts";
import { deadHolder, writeHolder } from "../lock-files.ts";

export type RacerOrder =
  /** Takes the lock and keeps it. Answers `won` or the error's code. */
  | { do: "lock" }
  | { do: "release" }
  /**
   * Takes the lock repeatedly. While it has the lock, it checks that no other process has it too. Then it releases the
   * lock, or leaves it as a killed command does. Answers how often it had the lock, and how often another had it as well.
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
      // As if this process were killed: the next one finds the lock of a dead process.
      if (Math.random() < 0.7) await writeHolder(folder, deadHolder());
      await lock.release();
    } catch (error) {
      if (!(error instanceof LabelmillError) || error.code !== "OUTPUT_LOCKED") result.errors.push(String(error));
    }
  }
  return result;
}
