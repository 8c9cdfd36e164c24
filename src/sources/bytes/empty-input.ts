import { LabelmillError } from "../../errors.ts";
import type { PassedOverReason } from "../../schemas/input.ts";

/** INPUT_EMPTY of one file, object or archive: among others it is passed over, and ends nothing. */
export class EmptyInput extends LabelmillError {
  /** `empty`: it has no bytes. */
  readonly reason: Extract<PassedOverReason, "empty" | "no-records">;

  constructor(message: string, reason: EmptyInput["reason"] = "no-records") {
    super("INPUT_EMPTY", message);
    this.reason = reason;
  }
}
