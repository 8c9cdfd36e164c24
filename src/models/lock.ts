import { z } from "zod";
import { DtypeSchema } from "../schemas/dtype.ts";

/** Stands beside a pulled model's files and says what they are. */
export const LOCK_FILE_NAME = "labelmill.lock.json";

/** Above any model's number of files, with a file of external weights for each tensor. */
export const MAX_FILES = 1100;

/** `owner/name`. The hub allows neither `--` nor `..` within, so `owner--name` is one repository's alone. */
export const RepoSchema = z
  .string()
  .max(192)
  .regex(/^(?!.*(--|\.\.))[A-Za-z0-9_]([\w.-]{0,94}\w)?\/[A-Za-z0-9_]([\w.-]{0,94}\w)?$/, "expected OWNER/NAME");

/** A branch, a tag or a commit, by a name that is safe in a URL and, encoded, as a file's. */
export const RevisionSchema = z
  .string()
  .max(100)
  .regex(/^(?!.*\.\.)\w[\w.+-]*(\/\w[\w.+-]*)*$/, "expected a branch, a tag or a commit");

export const CommitSchema = z.string().regex(/^[0-9a-f]{40}$/, "expected a commit, 40 hex digits");

const FileSchema = z.strictObject({
  /** Relative, with `/`, never upwards. */
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

/** What a model has to be, file by file: a catalog's word. */
export const PinsSchema = z.strictObject({ commit: CommitSchema, files: FilesSchema });
export type Pins = z.infer<typeof PinsSchema>;

/** What a pulled model is: the content of `labelmill.lock.json`. The SHA-256s were computed here, over what was written. */
export const LockSchema = z.strictObject({
  schemaVersion: z.literal(1),
  repo: RepoSchema,
  /** As it was asked for when the files were downloaded. */
  revision: RevisionSchema,
  dtype: DtypeSchema,
  commit: CommitSchema,
  /** By path. */
  files: FilesSchema,
});
export type Lock = z.infer<typeof LockSchema>;
