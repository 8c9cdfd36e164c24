import { LabelmillError } from "../errors.ts";
import { parseS3Uri, type S3Place } from "../storage/s3/uri.ts";
import { show } from "./show.ts";

/**
 * The buckets, prefixes and objects that `s3:` URIs may open. What is compared is the decoded key, as S3 is asked for it, and nothing
 * is resolved in it: S3 does not either.
 */
export class S3Grants {
  readonly #roots: readonly S3Place[];

  /**
   * @param roots `s3://bucket` grants the bucket, `s3://bucket/a/` what begins with `a/`, `s3://bucket/a` the object `a` and
   * what begins with `a/`
   * @throws LabelmillError CONFIG_INVALID for what is no such URI
   */
  constructor(roots: Iterable<string>) {
    this.#roots = [...roots].map(rootOf);
  }

  /**
   * The bucket and key of a granted object or, where the URI ends in `/` or has no key, prefix.
   *
   * @throws LabelmillError URL_REFUSED (those of `parseS3Reference`), NOT_GRANTED
   */
  check(uri: string): S3Place {
    const asked = parseS3Reference(uri);
    if (this.#roots.some((root) => covers(root, asked))) return asked;
    const mend = "add its bucket or prefix to s3Roots (--s3-roots, LABELMILL_S3_ROOTS)";
    throw new LabelmillError("NOT_GRANTED", `${showS3(uri)}: expected an object inside the granted prefixes; ${mend}`);
  }
}

/**
 * The bucket and key of an `s3:` URI that others wrote. Segments that are empty, `.` or `..` are refused rather than resolved: they
 * are names like any other to S3, but not to whoever reads the URI next. One `/` at the end is a prefix's.
 *
 * @throws LabelmillError URL_REFUSED, its message without credentials and query
 */
export function parseS3Reference(uri: string): S3Place {
  const at = parse(uri);
  if (at === undefined) {
    const expected =
      "expected s3://BUCKET/KEY, at most 1024 bytes of key, with %3F for ?, %23 for # and %25 for % in it";
    throw new LabelmillError("URL_REFUSED", `${showS3(uri)}: ${expected}`);
  }
  const segments = at.key.replace(/\/$/, "").split("/");
  if (at.key !== "" && segments.some((segment) => ["", ".", ".."].includes(segment))) {
    const expected = "expected a key without empty segments, `.` and `..`";
    throw new LabelmillError("URL_REFUSED", `${showS3(uri)}: ${expected}: S3 does not resolve them`);
  }
  return at;
}

/** An `s3:` URI as a message may show it: no credentials, no query, no fragment. */
export function showS3(uri: string): string {
  return show(uri.replace(/^(s3:[\\/]*)[^\\/?#]*@/i, "$1***@").replace(/[?#].*$/s, ""));
}

function parse(uri: string): S3Place | undefined {
  try {
    return parseS3Uri(uri);
  } catch {
    return undefined;
  }
}

function rootOf(root: string): S3Place {
  const at = parse(root);
  if (at !== undefined) return at;
  const expected = "expected s3://BUCKET or s3://BUCKET/PREFIX/ in s3Roots (--s3-roots, LABELMILL_S3_ROOTS)";
  throw new LabelmillError("CONFIG_INVALID", `${expected}, got ${JSON.stringify(showS3(root))}`);
}

function covers(root: S3Place, asked: S3Place): boolean {
  if (root.bucket !== asked.bucket) return false;
  if (root.key === "" || root.key === asked.key) return true;
  return asked.key.startsWith(root.key.endsWith("/") ? root.key : `${root.key}/`);
}
