import { LabelmillError } from "../../errors.ts";
import type { PassedOverReason } from "../../schemas/input.ts";

/** INPUT_EMPTY of one file, object or archive. If a run has other inputs, this one is passed over and reported. */
export class EmptyInput extends LabelmillError {
  /** `empty`: it has no bytes. `no-records`: it has bytes and no record. */
  readonly reason: Extract<PassedOverReason, "empty" | "no-records">;

  constructor(message: string, reason: EmptyInput["reason"] = "no-records") {
    super("INPUT_EMPTY", message);
    this.reason = reason;
  }
}
