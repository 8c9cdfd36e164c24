import { isS3 } from "../storage/s3/uri.ts";
import { FileGrants } from "./grants.ts";
import { S3Grants } from "./s3-grants.ts";

/** The grants of a worker: for reading and, if set separately, for outputs. */
export type Granted = {
  fileRoots: readonly string[];
  s3Roots: readonly string[];
  /** Folders and `s3://` prefixes. Default: the roots for reading. */
  outputRoots?: readonly string[] | undefined;
};

/** The places where outputs may be written and read. */
export class OutputGrants {
  readonly #files: FileGrants;
  readonly #s3: S3Grants;

  constructor({ fileRoots, s3Roots, outputRoots }: Granted) {
    this.#files = new FileGrants(outputRoots?.filter((root) => !isS3(root)) ?? fileRoots);
    this.#s3 = new S3Grants(outputRoots?.filter(isS3) ?? s3Roots);
  }

  /** @throws LabelmillError URL_REFUSED, NOT_GRANTED */
  async check(uri: string): Promise<void> {
    if (isS3(uri)) this.#s3.check(uri);
    else await this.#files.resolveOutput(uri);
  }
}
