import { posix } from "node:path";
import type { S3, S3Found } from "../../storage/s3/s3.ts";
import { parseS3Uri, type S3Place, s3Uri } from "../../storage/s3/uri.ts";
import { s3InputError } from "../bytes/s3-origin.ts";

/** A pattern of keys. `at`: the prefix of all its matches. */
export type S3Glob = { at: S3Place; matches(key: string): boolean };

/** Parses a pattern of keys. `*`, `**`, `{a,b}`, `[ab]` work as in paths; percent-encoded, they are literal. Undefined for any other URI. */
export function s3Glob(uri: string): S3Glob | undefined {
  const [, bucket, pattern] = /^s3:\/\/([^/]*)\/(.*)$/is.exec(uri) ?? [];
  const wild = pattern?.search(/[*[{]/) ?? -1;
  if (pattern === undefined || wild === -1) return undefined;
  const at = parseS3Uri(`s3://${bucket}/${pattern.slice(0, pattern.lastIndexOf("/", wild) + 1)}`);
  // The whole pattern must be a valid key.
  parseS3Uri(uri);
  const decoded = pattern.replace(/(?:%[0-9a-f]{2})+/gi, (written) =>
    decodeURIComponent(written).replace(/[*?{}[\]()!+@]/g, "[$&]"),
  );
  return { at, matches: (key) => posix.matchesGlob(key, decoded) };
}

/** The objects below a prefix, or that match a pattern. `path`: the key without the prefix. */
export async function* s3Objects(
  { at, matches = () => true }: Pick<S3Glob, "at"> & Partial<S3Glob>,
  s3: S3,
): AsyncGenerator<S3Found & { key: string; path: string }> {
  try {
    for await (const found of s3.list(at.bucket, at.key)) {
      if (matches(found.key)) yield { ...found, path: found.key.slice(at.key.length) };
    }
  } catch (error) {
    throw s3InputError(s3Uri(at), error);
  }
}
