import { stat } from "node:fs/promises";
import { join } from "node:path";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";

/** Whether a file exists in a model's folder. @param path relative to the folder */
export function existsIn(dir: string, path: string): Promise<boolean> {
  return stat(join(dir, path)).then(
    () => true,
    () => false,
  );
}

export function invalidModel(dir: string, problem: string, cause?: unknown): LabelmillError {
  return new LabelmillError("MODEL_INVALID", `model ${dir}: ${problem}`, { cause });
}

export function unreadableFile(dir: string, path: string, error: unknown): LabelmillError {
  if (systemCode(error) === "ENOENT") return invalidModel(dir, `${path}: expected this file, but it is missing`, error);
  return invalidModel(dir, `${path}: cannot be read: ${messageOf(error)}`, error);
}

/** Adds the model's folder to errors of `read`. */
export function withinModel<T>(dir: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalidModel(dir, messageOf(error), error);
  }
}
