import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { placeOf, StoreError, type StoreTrouble } from "../store-error.ts";

/** What was asked of S3, of what and where: the words of an error's message. */
export type S3Asked = { doing: "read" | "write" | "list" | "delete"; what: string; host: string };

/** What the SDK throws: an answer of the server that is no success, or what happened instead of an answer. */
type S3Failure = Error & {
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
  /** Of AuthorizationHeaderMalformed: the region that the bucket is in. */
  Region?: string;
};

/** The network's: another time it may work. A name that does not resolve is among them, for the resolver may be out. */
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

/** S3's own codes for "not now", whatever their status. The 409s: another request on the same key is under way. */
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

/** What stays as it is until somebody mends it, by S3's code. */
const MENDS: Record<string, string> = {
  NoSuchBucket: "there is no such bucket: make it, or name another (is the endpoint the right one?)",
  AccessDenied:
    "forbidden: give these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there (without the last, a missing object looks like this too)",
  InvalidAccessKeyId: "the access key is not known there: set AWS_ACCESS_KEY_ID, or AWS_PROFILE, to one that is",
  SignatureDoesNotMatch:
    "the secret does not fit the access key: set AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to the right one",
  ExpiredToken: "the credentials have expired: get new ones",
  InvalidToken: "the session token is not valid: get new credentials, or unset AWS_SESSION_TOKEN",
  RequestTimeTooSkewed: "this machine's clock is off by more than 15 min: set it",
  NotImplemented: "the server cannot do that: name one that can with LABELMILL_S3_ENDPOINT",
  CredentialsProviderError:
    "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
  RegionMissing: "no region was found: set LABELMILL_S3_REGION or AWS_REGION",
  ENOTFOUND: "the endpoint's name does not resolve: set LABELMILL_S3_ENDPOINT right, or mend the network",
  EAI_AGAIN: "the endpoint's name does not resolve now: try again, or mend the network",
  ECONNREFUSED: "nothing listens there: start the server, or set LABELMILL_S3_ENDPOINT right",
};

/** Another region's bucket, by status or code. */
const ELSEWHERE = new Set([
  "PermanentRedirect",
  "TemporaryRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
]);

/** Of the credentials, the account or the clock, whatever was asked for. */
const CREDENTIALS = new Set([
  "InvalidAccessKeyId",
  "ExpiredToken",
  "InvalidToken",
  "RequestTimeTooSkewed",
  "CredentialsProviderError",
  "AccountProblem",
]);

/** These, or of the bucket, whichever key was asked for. AccessDenied is not among them: it may be about one key. */
const REFUSALS = new Set([...CREDENTIALS, "NoSuchBucket", "SignatureDoesNotMatch", "AllAccessDisabled"]);

/** What an error of S3 may say about the whole bucket; undefined where it is about the request or the key. */
export function s3Trouble(error: unknown): StoreTrouble | undefined {
  if (error instanceof LabelmillError) return error instanceof StoreError ? error.trouble : undefined;
  if (isS3Outage(error)) return { kind: "outage", certain: false };
  const code = s3Code(error);
  const status = s3Status(error);
  if (REFUSALS.has(code)) return { kind: "refused", certain: true };
  return code === "AccessDenied" || status === 401 || status === 403 ? { kind: "refused", certain: false } : undefined;
}

/**
 * Whether S3 refused the credentials, whatever bucket and key were asked for. A signature that does not match is left out: a
 * server that spells keys in its own way answers so for one key.
 */
export function isCredentialsError(error: unknown): boolean {
  return error instanceof StoreError && CREDENTIALS.has(s3Code(error.cause));
}

/** Whether the same request may succeed a moment later. */
export function isS3Outage(error: unknown): boolean {
  if (error instanceof LabelmillError) return error.retryable;
  if (OUTAGES.has(systemCode(error) ?? "") || NOT_NOW.has(s3Code(error))) return true;
  const status = s3Status(error);
  // A success that cannot be read is one that was cut.
  if (status === undefined) return systemCode(error)?.startsWith("HPE_") ?? false;
  return (status >= 500 && status !== 501) || status === 429 || (status >= 200 && status < 300);
}

/** The status of the answer; undefined where there was none. */
export function s3Status(error: unknown): number | undefined {
  return (error as S3Failure | undefined)?.$metadata?.httpStatusCode;
}

/** S3's code for what it refused, `NoSuchKey` for one; the SDK's name for what came instead of an answer. */
export function s3Code(error: unknown): string {
  const { name } = error as S3Failure;
  const status = s3Status(error);
  // Of answers without a body, the SDK names some by their status alone.
  if (name === "Forbidden" || (status === 403 && isNoCode(name))) return "AccessDenied";
  // Not whatever says 404: a server that is no S3 does too.
  if (name === "NotFound") return "NoSuchKey";
  if (status === 301 || status === 307) return "PermanentRedirect";
  return name;
}

/**
 * What S3, or the way to it, refused: one line that names the place, the server and the mend. STORE_NOT_FOUND for a key that
 * is not there, STORE_FAILED for the rest, retryable where it is an outage. What is ours already comes back as it is.
 */
export function s3Error(error: unknown, { doing, what, host }: S3Asked): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const code = s3Code(error);
  if (code === "NoSuchKey" && (doing === "read" || doing === "delete"))
    return new LabelmillError("STORE_NOT_FOUND", `${what} is not there (S3 at ${host})`, { cause: error });
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
  const mend = MENDS[code] ?? MENDS[systemCode(error) ?? ""];
  const status = s3Status(error);
  if (mend) return status === undefined ? mend : `${mend} (${code})`;
  if (status !== undefined && status >= 300) {
    if (isS3Outage(error)) return `it answers ${status}${isNoCode(code) ? "" : ` ${code}`}, again and again: try later`;
    if (isNoCode(code)) return `it answers ${status}, and not as S3 does: is LABELMILL_S3_ENDPOINT right?`;
    return `it answers ${status} ${code}: ${oneLine(messageOf(error))}`;
  }
  if (!isS3Outage(error)) return oneLine(messageOf(error));
  // The SDK calls every broken connection a time-out.
  const broken = systemCode(error) !== undefined && systemCode(error) !== "ETIMEDOUT";
  return `${broken ? oneLine(messageOf(error)) : "no answer in time"}, again and again: try later, or mend the network`;
}

function isNoCode(name: string): boolean {
  return /^(Error|\d+|Unknown\w*|S3ServiceException|SyntaxError)$/.test(name);
}

/** A server may say anything, at any length. */
function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim().slice(0, 200);
}
