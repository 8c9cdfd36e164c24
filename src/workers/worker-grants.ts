import type { Config } from "../config.ts";
import type { UploadGrants } from "../fetch/fetcher.ts";
import { FileGrants } from "../fetch/grants.ts";
import { type Granted, OutputGrants } from "../fetch/output-grants.ts";
import { S3Grants } from "../fetch/s3-grants.ts";
import { isS3 } from "../storage/s3/uri.ts";

/** Files and folders, and `s3://` prefixes. */
export type Roots = { files: readonly string[]; s3: readonly string[]; outputs?: readonly string[] };

/** What a worker may open. */
export type WorkerGrants = {
  files: FileGrants;
  s3: S3Grants;
  outputs: OutputGrants;
  /** Omitted if outputs are granted for reading anyway. */
  uploads: UploadGrants | undefined;
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
    uploads: outputRoots && {
      files: new FileGrants(outputRoots.filter((root) => !isS3(root))),
      s3: new S3Grants(outputRoots.filter(isS3)),
    },
    granted,
  };
}
