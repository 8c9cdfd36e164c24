import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { StoreError, type StoreTrouble } from "../store-error.ts";

/** The fix by system code. Without `retryable`, the error remains until a user fixes its cause. */
const FIXES: Record<string, { fix: string; retryable?: true }> = {
  ENOSPC: { fix: "free space there, or choose another folder", retryable: true },
  EDQUOT: { fix: "free space there or raise the quota, or choose another folder", retryable: true },
  EMFILE: { fix: "raise the limit of open files (ulimit -n)", retryable: true },
  EACCES: { fix: "give this user the right to it, or choose another folder" },
  EPERM: { fix: "give this user the right to it, or choose another folder" },
  EROFS: { fix: "mount it writable, or choose another folder" },
  ENOTDIR: { fix: "a file is where a folder is needed: move it away, or choose another folder" },
  EEXIST: { fix: "a file is where a folder is needed: move it away, or choose another folder" },
  EISDIR: { fix: "a folder is where a file is needed: move it away, or choose another folder" },
  ENAMETOOLONG: { fix: "choose a shorter name" },
  ERR_FS_FILE_TOO_LARGE: { fix: "read it as a stream" },
};

/** Error codes of a write to a full or read-only disk, or without the right to write. They affect all keys of the folder. */
const REFUSALS = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"]);

/** Error codes of a network file system whose server does not answer, and of a failing disk. */
const OUTAGES = new Set(["EIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "EREMOTEIO", "ENODEV"]);

/**
 * STORE_FAILED for an error of the file system, with the path, the reason and the fix. Errors without a system code (ours, and
 * the caller's own) are returned unchanged.
 */
export function storeError(error: unknown, doing: "read" | "write" | "list" | "lock", path: string): unknown {
  const code = systemCode(error);
  if (error instanceof LabelmillError || code === undefined) return error;
  const known = FIXES[code];
  const message = `could not ${doing} ${path}: ${messageOf(error)}${known ? `; ${known.fix}` : ""}`;
  const retryable = !known || known.retryable === true;
  return new StoreError(message, { cause: error, retryable, key: path, trouble: troubleOf(code, doing) });
}

function troubleOf(code: string, doing: string): StoreTrouble | undefined {
  if (OUTAGES.has(code)) return { kind: "outage", certain: false };
  return REFUSALS.has(code) && doing === "write" ? { kind: "refused", certain: true } : undefined;
}
