import { LabelmillError } from "../errors.ts";
import { parseS3Uri, type S3Place } from "../storage/s3/uri.ts";
import { show } from "./printable-url.ts";

/**
 * The buckets, prefixes and objects that `s3:` URIs may open. The decoded key is compared, as it is sent to S3. Nothing in it
 * is resolved, because S3 resolves nothing either.
 */
export class S3Grants {
  readonly #roots: readonly S3Place[];

  /**
   * @param roots `s3://bucket` grants the bucket, `s3://bucket/a/` the keys that begin with `a/`, `s3://bucket/a` the object
   * `a` and the keys that begin with `a/`
   * @throws LabelmillError CONFIG_INVALID for any other text
   */
  constructor(roots: Iterable<string>) {
    this.#roots = [...roots].map(rootOf);
  }

  /**
   * The bucket and key of a granted object, or of a prefix if the URI ends in `/` or has no key.
   *
   * @throws LabelmillError URL_REFUSED (those of `parseS3Reference`), NOT_GRANTED
   */
  check(uri: string): S3Place {
    const place = parseS3Reference(uri);
    if (this.#roots.some((root) => covers(root, place))) return place;
    const fix = "add its bucket or prefix to s3Roots (--s3-roots, LABELMILL_S3_ROOTS)";
    throw new LabelmillError("NOT_GRANTED", `${showS3(uri)}: expected an object inside the granted prefixes; ${fix}`);
  }
}

/**
 * The bucket and key of an `s3:` URI from an input. Segments that are empty, `.` or `..` are refused, not resolved: to S3 they
 * are names like any other, but another program may resolve them. One `/` at the end means a prefix.
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

/** An `s3:` URI for a message: without credentials, query and fragment. */
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

function covers(root: S3Place, place: S3Place): boolean {
  if (root.bucket !== place.bucket) return false;
  if (root.key === "" || root.key === place.key) return true;
  return place.key.startsWith(root.key.endsWith("/") ? root.key : `${root.key}/`);
}
