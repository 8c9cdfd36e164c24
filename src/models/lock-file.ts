import { z } from "zod";
import { DtypeSchema } from "../schemas/dtype.ts";

/** The file beside a pulled model's files that describes them. */
export const LOCK_FILE_NAME = "labelmill.lock.json";

/** More files than any model has, even with a file of external weights for each tensor. */
export const MAX_FILES = 1100;

/** `owner/name`. The hub allows neither `--` nor `..` in it, so `owner--name` is unique to one repository. */
export const RepoSchema = z
  .string()
  .max(192)
  .regex(/^(?!.*(--|\.\.))[A-Za-z0-9_]([\w.-]{0,94}\w)?\/[A-Za-z0-9_]([\w.-]{0,94}\w)?$/, "expected OWNER/NAME");

/** A branch, a tag or a commit. The name is safe in a URL and, encoded, as a file name. */
export const RevisionSchema = z
  .string()
  .max(100)
  .regex(/^(?!.*\.\.)\w[\w.+-]*(\/\w[\w.+-]*)*$/, "expected a branch, a tag or a commit");

export const CommitSchema = z.string().regex(/^[0-9a-f]{40}$/, "expected a commit, 40 hex digits");

const FileSchema = z.strictObject({
  /** Relative, with `/`, without `..`. */
  path: z
    .string()
    .max(255)
    .regex(/^(?!(.*\/)?\.\.?(\/|$))[^\p{C}\\/]+(\/[^\p{C}\\/]+)*$/u, "expected a path within the model's folder"),
  /** Bytes. */
  size: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected a SHA-256, 64 hex digits"),
});

const FilesSchema = z
  .array(FileSchema)
  .min(1)
  .max(MAX_FILES)
  .refine((files) => new Set(files.map(({ path }) => path)).size === files.length, "expected each path once");

/** The commit and the files that a model must have, as a catalog pins them. */
export const PinsSchema = z.strictObject({ commit: CommitSchema, files: FilesSchema });
export type Pins = z.infer<typeof PinsSchema>;

/** The description of a pulled model: the content of `labelmill.lock.json`. The SHA-256s are of the files as written here. */
export const LockSchema = z.strictObject({
  schemaVersion: z.literal(1),
  repo: RepoSchema,
  /** The revision by which the files were downloaded. */
  revision: RevisionSchema,
  dtype: DtypeSchema,
  commit: CommitSchema,
  /** Sorted by path. */
  files: FilesSchema,
});
export type Lock = z.infer<typeof LockSchema>;
