import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { StoreError, type StoreTrouble } from "../store-error.ts";

/** What mends it, by system code. What is named here without `retryable` stays as it is until somebody mends it. */
const MENDS: Record<string, { mend: string; retryable?: true }> = {
  ENOSPC: { mend: "free space there, or choose another folder", retryable: true },
  EDQUOT: { mend: "free space there or raise the quota, or choose another folder", retryable: true },
  EMFILE: { mend: "raise the limit of open files (ulimit -n)", retryable: true },
  EACCES: { mend: "give this user the right to it, or choose another folder" },
  EPERM: { mend: "give this user the right to it, or choose another folder" },
  EROFS: { mend: "mount it writable, or choose another folder" },
  ENOTDIR: { mend: "a file stands where a folder is needed: move it away, or choose another folder" },
  EEXIST: { mend: "a file stands where a folder is needed: move it away, or choose another folder" },
  EISDIR: { mend: "a folder stands where a file is needed: move it away, or choose another folder" },
  ENAMETOOLONG: { mend: "choose a shorter name" },
  ERR_FS_FILE_TOO_LARGE: { mend: "read it as a stream" },
};

/** Of a write: the disk is full or read-only, or this user may not write there. Never about one key, since all lie in one folder. */
const REFUSALS = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"]);

/** A network file system whose server is away, or a disk that fails. */
const OUTAGES = new Set(["EIO", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOTCONN", "EREMOTEIO", "ENODEV"]);

/**
 * What the file system refused, as STORE_FAILED that names the path, the reason and the mend. What did not come from the
 * system (ours, or a caller's own) comes back as it is.
 */
export function storeError(error: unknown, doing: "read" | "write" | "list" | "lock", path: string): unknown {
  const code = systemCode(error);
  if (error instanceof LabelmillError || code === undefined) return error;
  const known = MENDS[code];
  const message = `could not ${doing} ${path}: ${messageOf(error)}${known ? `; ${known.mend}` : ""}`;
  const retryable = !known || known.retryable === true;
  return new StoreError(message, { cause: error, retryable, key: path, trouble: troubleOf(code, doing) });
}

function troubleOf(code: string, doing: string): StoreTrouble | undefined {
  if (OUTAGES.has(code)) return { kind: "outage", certain: false };
  return REFUSALS.has(code) && doing === "write" ? { kind: "refused", certain: true } : undefined;
}
