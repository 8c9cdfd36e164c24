import { LabelmillError, messageOf } from "../../errors.ts";
import { within } from "../../redis/deadline.ts";

const CHECK_MS = 10_000;
/** Messages of other systems can have any length. */
const MAX_FOUND = 1000;

/** `note`: no fault, but worth knowing. */
export type CheckState = "ok" | "wrong" | "note";

/** What a check found. `fix`: what to do about it, unless `found` contains it already, as error messages do. */
export type Finding = { state: CheckState; found: string; fix?: string };

/** The result of one check. */
export type CheckResult = { name: string } & Finding;

/** Runs a check. If it throws or takes longer than `ms`, that is its finding. */
export async function runCheck(
  name: string,
  look: () => Promise<Finding> | Finding,
  ms: number = CHECK_MS,
): Promise<CheckResult> {
  const looked = (async () => look())();
  try {
    const { state, found, fix } = await within(ms, looked);
    return { name, state, found: oneLine(found), ...(fix === undefined ? {} : { fix: oneLine(fix) }) };
  } catch (error) {
    const code = error instanceof LabelmillError ? `${error.code}: ` : "";
    return { name, state: "wrong", found: oneLine(`${code}${messageOf(error)}`) };
  }
}

export const ok = (found: string): Finding => ({ state: "ok", found });
export const wrong = (found: string, fix: string): Finding => ({ state: "wrong", found, fix });
export const note = (found: string, fix?: string): Finding =>
  fix === undefined ? { state: "note", found } : { state: "note", found, fix };

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length <= MAX_FOUND ? line : `${line.slice(0, MAX_FOUND - 1)}…`;
}
