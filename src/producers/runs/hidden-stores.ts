import { realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { FileGrants } from "../../fetch/grants.ts";
import { showS3 } from "../../fetch/s3-grants.ts";
import { isS3, parseS3Uri, type S3Place, s3Uri } from "../../storage/s3/uri.ts";

/** Stores that a caller may not name, although workers were granted them: they have what other callers sent and got. */
export class HiddenStores {
  readonly #folders: readonly string[];
  readonly #s3: readonly S3Place[];
  /** For the real path of a file or folder that may not exist. */
  readonly #all = new FileGrants([sep]);

  /** @param uris end in `/` */
  constructor(uris: readonly string[]) {
    this.#folders = uris.filter((uri) => uri.startsWith("file:")).map((uri) => fileURLToPath(uri));
    this.#s3 = uris.filter(isS3).map(parseS3Uri);
  }

  /** @throws LabelmillError NOT_GRANTED for a place in a hidden store, and for a folder or prefix above one */
  checkS3(at: S3Place): void {
    for (const { bucket, key } of this.#s3)
      if (bucket === at.bucket && (at.key.startsWith(key) || key.startsWith(at.key))) throw refused(showS3(s3Uri(at)));
  }

  /** The same for a `file:` URL. Links are resolved. */
  async checkFile(uri: string): Promise<void> {
    const real = await this.#all.resolveOutput(uri);
    for (const folder of this.#folders) {
      const other = await realpath(folder).catch(() => folder);
      if (isBelow(real, other) || isBelow(other, real)) throw refused(fileURLToPath(uri));
    }
  }
}

/** Whether a real path is a folder or below it. */
function isBelow(path: string, folder: string): boolean {
  return join(path, sep).startsWith(join(folder, sep));
}

function refused(place: string): LabelmillError {
  return new LabelmillError(
    "NOT_GRANTED",
    `${place}: expected a place outside of the output and the state of the server, got one that they include or are in: choose another one`,
  );
}
