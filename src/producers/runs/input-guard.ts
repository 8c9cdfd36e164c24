import { isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { GrantedS3 } from "../../fetch/granted-s3.ts";
import { FileGrants } from "../../fetch/grants.ts";
import type { Granted } from "../../fetch/output-grants.ts";
import { S3Grants } from "../../fetch/s3-grants.ts";
import { listOf } from "../../sources/discover/input-list.ts";
import { globBase, isGlob } from "../../sources/discover/local-listing.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { isS3, s3Uri } from "../../storage/s3/uri.ts";
import type { HiddenStores } from "./hidden-stores.ts";
import { localPath } from "./local-path.ts";
import type { LabelKind } from "./request.ts";

export type InputGuardOptions = {
  /** The grants of every worker that may label the run. Without such a worker, those of the server. */
  grants: readonly Pick<Granted, "fileRoots" | "s3Roots">[];
  hidden: HiddenStores;
  /** Local paths are the same on all workers. */
  sharedFiles: boolean;
};

/**
 * What the submitter may open for a caller whose rights are less than its own, as over HTTP: only what every worker was
 * granted, and nothing in the stores of the server. The submitter reads lists, inventories, listings and the heads of inputs
 * before a worker sees them.
 */
export class InputGuard {
  readonly #files: readonly FileGrants[];
  readonly #s3: readonly S3Grants[];
  readonly #hidden: HiddenStores;
  readonly #sharedFiles: boolean;

  constructor({ grants, hidden, sharedFiles }: InputGuardOptions) {
    this.#files = grants.map(({ fileRoots }) => new FileGrants(fileRoots));
    this.#s3 = grants.map(({ s3Roots }) => new S3Grants(s3Roots));
    this.#hidden = hidden;
    this.#sharedFiles = sharedFiles;
  }

  /** A client that reads only what may be opened. */
  guarded(s3: S3): S3 {
    return new GrantedS3(s3, (at) => {
      for (const grants of this.#s3) grants.check(s3Uri(at));
      this.#hidden.checkS3(at);
    });
  }

  /**
   * Checks the name of an input before anything of it is opened. What is on S3 is checked when it is read.
   * @throws LabelmillError LOCAL_PATH_REMOTE_WORKER, NOT_GRANTED
   */
  async checkName(kind: LabelKind, name: string): Promise<void> {
    const place = listOf(name) ?? name;
    // An address of an image is not opened here: workers fetch it through their guard.
    if (isS3(place) || (kind === "images" && /^https?:\/\//i.test(name))) return;
    if (!this.#sharedFiles) throw localPath(place, "put it on S3");
    const path = absolutePath(place);
    const base = pathToFileURL(isGlob(path) ? globBase(path) : path).href;
    for (const files of this.#files) await files.resolveOutput(base);
    await this.#hidden.checkFile(base);
  }
}

/** A path that means the same for the caller, the server and the workers. @throws LabelmillError NOT_GRANTED */
export function absolutePath(path: string): string {
  if (isAbsolute(path) && !path.split("/").includes("..")) return path;
  throw new LabelmillError(
    "NOT_GRANTED",
    `expected an s3:// URI or an absolute path without .., got ${JSON.stringify(path)}`,
  );
}
