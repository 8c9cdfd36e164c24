import { LabelmillError } from "../../errors.ts";

export function unknownRun(run: string): LabelmillError {
  return new LabelmillError(
    "RUN_UNKNOWN",
    `expected the id of a run that Redis knows, got ${JSON.stringify(run.slice(0, 80))}: labelmill status lists the runs`,
  );
}
