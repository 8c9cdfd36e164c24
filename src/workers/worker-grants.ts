import type { Config } from "../config.ts";
import { FileGrants } from "../fetch/grants.ts";
import { type Granted, OutputGrants } from "../fetch/output-grants.ts";
import { S3Grants } from "../fetch/s3-grants.ts";

/** Files and folders, and `s3://` prefixes. */
export type Roots = { files: readonly string[]; s3: readonly string[]; outputs?: readonly string[] };

/** What a worker may open. */
export type WorkerGrants = {
  files: FileGrants;
  s3: S3Grants;
  outputs: OutputGrants;
  /** The roots themselves, as the worker registers them. */
  granted: Granted;
};

/** Grants the roots of the command and those of the settings. */
export function openGrants(roots: Roots, config: Config): WorkerGrants {
  const fileRoots = [...roots.files, ...config.fileRoots];
  const s3Roots = [...roots.s3, ...config.s3Roots];
  const outputRoots = config.outputRoots && [...(roots.outputs ?? []), ...config.outputRoots];
  const granted = { fileRoots, s3Roots, outputRoots };
  return {
    files: new FileGrants(fileRoots),
    s3: new S3Grants(s3Roots),
    outputs: new OutputGrants(granted),
    granted,
  };
}
