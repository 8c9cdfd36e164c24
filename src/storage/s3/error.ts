import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { placeOf, StoreError, type StoreTrouble } from "../store-error.ts";

/** An operation, its object or prefix, and the server: for the message of an error. */
export type S3Operation = { doing: "read" | "write" | "list" | "delete"; what: string; host: string };

/** An error of the SDK: an answer with an error status, or the reason why there was no answer. */
type S3Failure = Error & {
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
  /** Of AuthorizationHeaderMalformed: the region that the bucket is in. */
  Region?: string;
};

/** Network errors, which may be temporary. An unresolved name is one of them, because the resolver may fail. */
const OUTAGES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** S3's own codes for a temporary error, with any status. The last two (409): another request on the same key is running. */
const NOT_NOW = new Set([
  "TimeoutError",
  "RequestTimeout",
  "SlowDown",
  "Throttling",
  "ThrottlingException",
  "InternalError",
  "IncompleteBody",
  "OperationAborted",
  "ConditionalRequestConflict",
]);

/** The reason and the fix, by S3's code, of an error that remains until a user fixes its cause. */
const FIXES: Record<string, string> = {
  NoSuchBucket: "the bucket does not exist: make it, or name another (is the endpoint correct?)",
  AccessDenied:
    "forbidden: give these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there (without the last, a missing object looks like this too)",
  InvalidAccessKeyId: "the server does not know the access key: set AWS_ACCESS_KEY_ID, or AWS_PROFILE, to a valid one",
  SignatureDoesNotMatch:
    "the secret does not match the access key: set AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to the correct one",
  ExpiredToken: "the credentials have expired: get new ones",
  InvalidToken: "the session token is not valid: get new credentials, or unset AWS_SESSION_TOKEN",
  RequestTimeTooSkewed: "this machine's clock is off by more than 15 min: set it",
  NotImplemented: "the server does not support this operation: set LABELMILL_S3_ENDPOINT to one that does",
  CredentialsProviderError:
    "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
  RegionMissing: "no region was found: set LABELMILL_S3_REGION or AWS_REGION",
  ENOTFOUND: "the endpoint's name does not resolve: correct LABELMILL_S3_ENDPOINT, or fix the network",
  EAI_AGAIN: "the endpoint's name does not resolve now: try again, or fix the network",
  ECONNREFUSED: "nothing listens there: start the server, or correct LABELMILL_S3_ENDPOINT",
};

/** The bucket is in another region. */
const ELSEWHERE = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
]);

/** S3 refuses the credentials, the account or the clock: any request would fail. */
const CREDENTIALS = new Set([
  "InvalidAccessKeyId",
  "ExpiredToken",
  "InvalidToken",
  "RequestTimeTooSkewed",
  "CredentialsProviderError",
  "AccountProblem",
]);

/** The same, or S3 refuses the bucket: a request for any of its keys would fail. AccessDenied may concern one key only. */
const REFUSALS = new Set([...CREDENTIALS, "NoSuchBucket", "SignatureDoesNotMatch", "AllAccessDisabled"]);

/** The meaning of an S3 error for the whole bucket; undefined if it concerns the request or the key. */
export function s3Trouble(error: unknown): StoreTrouble | undefined {
  if (error instanceof LabelmillError) return error instanceof StoreError ? error.trouble : undefined;
  if (isS3Outage(error)) return { kind: "outage", certain: false };
  const code = s3Code(error);
  const status = s3Status(error);
  if (REFUSALS.has(code)) return { kind: "refused", certain: true };
  return code === "AccessDenied" || status === 401 || status === 403 ? { kind: "refused", certain: false } : undefined;
}

/**
 * Whether S3 refused the credentials for any bucket and key. A signature that does not match is left out: a server that
 * encodes keys in its own way answers so for a single key.
 */
export function isCredentialsError(error: unknown): boolean {
  return error instanceof StoreError && CREDENTIALS.has(s3Code(error.cause));
}

/** Whether the same request may succeed soon. */
export function isS3Outage(error: unknown): boolean {
  if (error instanceof LabelmillError) return error.retryable;
  if (OUTAGES.has(systemCode(error) ?? "") || NOT_NOW.has(s3Code(error))) return true;
  const status = s3Status(error);
  // A success that cannot be parsed was cut off.
  if (status === undefined) return systemCode(error)?.startsWith("HPE_") ?? false;
  return (status >= 500 && status !== 501) || status === 429 || (status >= 200 && status < 300);
}

/** The status of the answer; undefined without an answer. */
export function s3Status(error: unknown): number | undefined {
  return (error as S3Failure | undefined)?.$metadata?.httpStatusCode;
}

/** S3's code of the error, such as `NoSuchKey`. Without an answer: the SDK's name of the error. */
export function s3Code(error: unknown): string {
  const { name } = error as S3Failure;
  const status = s3Status(error);
  // The SDK names some answers without a body by their status.
  if (name === "Forbidden" || (status === 403 && isNoCode(name))) return "AccessDenied";
  // Not every 404: a server that does not speak S3 sends one too.
  if (name === "NotFound") return "NoSuchKey";
  if (status === 301 || status === 307) return "PermanentRedirect";
  return name;
}

/**
 * An error of S3 or of the network as one line with the object, the server and the fix. STORE_NOT_FOUND for a missing key,
 * STORE_FAILED for the rest, retryable if it may be temporary. A LabelmillError is returned unchanged.
 */
export function s3Error(error: unknown, { doing, what, host }: S3Operation): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const code = s3Code(error);
  // MethodNotAllowed: the version is the mark of a deletion.
  const isMissing =
    code === "NoSuchKey" || code === "NoSuchVersion" || (doing === "read" && code === "MethodNotAllowed");
  if (isMissing && (doing === "read" || doing === "delete"))
    return new LabelmillError("STORE_NOT_FOUND", `${what} does not exist (S3 at ${host})`, { cause: error });
  const message = `could not ${doing} ${what} (S3 at ${host}): ${reasonOf(error as S3Failure, code)}`;
  const place = placeOf(what);
  return new StoreError(message, {
    ...{ cause: error, retryable: isS3Outage(error), trouble: s3Trouble(error) },
    ...{ place, key: what.slice(place.length + 1) },
  });
}

function reasonOf(error: S3Failure, code: string): string {
  if (ELSEWHERE.has(code)) {
    const region = error.Region ?? error.$response?.headers?.["x-amz-bucket-region"];
    const known = region && /^[\w-]{1,40}$/.test(region);
    return `the bucket is in ${known ? `the region ${region}: set LABELMILL_S3_REGION=${region}` : "another region: set LABELMILL_S3_REGION to it"}`;
  }
  const fix = FIXES[code] ?? FIXES[systemCode(error) ?? ""];
  const status = s3Status(error);
  if (fix) return status === undefined ? fix : `${fix} (${code})`;
  if (status !== undefined && status >= 300) {
    if (isS3Outage(error)) return `it answers ${status}${isNoCode(code) ? "" : ` ${code}`} repeatedly: try later`;
    if (isNoCode(code)) return `it answers ${status}, but not in the form of S3: is LABELMILL_S3_ENDPOINT correct?`;
    return `it answers ${status} ${code}: ${oneLine(messageOf(error))}`;
  }
  if (!isS3Outage(error)) return oneLine(messageOf(error));
  // The SDK reports every broken connection as a timeout.
  const broken = systemCode(error) !== undefined && systemCode(error) !== "ETIMEDOUT";
  return `${broken ? oneLine(messageOf(error)) : "no answer in time"}, repeatedly: try later, or fix the network`;
}

function isNoCode(name: string): boolean {
  return /^(Error|\d+|Unknown\w*|S3ServiceException|SyntaxError)$/.test(name);
}

/** A server's text may have any length and characters. */
function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim().slice(0, 200);
}
