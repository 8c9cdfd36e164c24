import { LabelmillError, messageOf } from "../../errors.ts";
import { within } from "../../redis/deadline.ts";

const CHECK_MS = 10_000;
/** What a system says of itself may be of any length. */
const MAX_FOUND = 1000;

/** `note`: nothing is broken, but it is good to know. */
export type CheckState = "ok" | "wrong" | "note";

/** What a check found. `mend`: what to do about it, where `found` does not say it already, as the messages of our errors do. */
export type Finding = { state: CheckState; found: string; mend?: string };

/** A check that was made: what `labelmill doctor --json` prints of it. */
export type CheckResult = { name: string } & Finding;

/** Makes a check. What it throws, or that it takes longer than `ms`, is its own finding and nobody else's. */
export async function runCheck(
  name: string,
  look: () => Promise<Finding> | Finding,
  ms: number = CHECK_MS,
): Promise<CheckResult> {
  const looked = (async () => look())();
  try {
    const { state, found, mend } = await within(ms, looked);
    return { name, state, found: oneLine(found), ...(mend === undefined ? {} : { mend: oneLine(mend) }) };
  } catch (error) {
    const code = error instanceof LabelmillError ? `${error.code}: ` : "";
    return { name, state: "wrong", found: oneLine(`${code}${messageOf(error)}`) };
  }
}

export const ok = (found: string): Finding => ({ state: "ok", found });
export const wrong = (found: string, mend: string): Finding => ({ state: "wrong", found, mend });
export const note = (found: string, mend?: string): Finding =>
  mend === undefined ? { state: "note", found } : { state: "note", found, mend };

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= MAX_FOUND ? line : `${line.slice(0, MAX_FOUND - 1)}…`;
}
