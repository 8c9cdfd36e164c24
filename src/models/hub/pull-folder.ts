import { mkdir, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError, systemCode } from "../../errors.ts";
import { readRegularText } from "../../regular-file.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import { syncFolder, withAside } from "../../storage/fs/atomic-write.ts";
import type { OutputLock } from "../../storage/lease/lock.ts";
import { lockOutput } from "../../storage/lease/output-lock.ts";
import { CommitSchema, LOCK_FILE_NAME, type Lock, LockSchema } from "../lock-file.ts";
import { throwIfAborted } from "./http.ts";

/** The interval between two checks of another process's lock. */
const LOCK_LOOK_MS = 250;

/** The folder of all that is pulled from one repository: `<modelsDir>/<owner>--<name>/`. */
export class PullFolder {
  readonly folder: string;
  readonly #dtype: Dtype;

  constructor(modelsDir: string, { repo, dtype }: { repo: string; dtype: Dtype }) {
    this.folder = join(modelsDir, repo.replace("/", "--"));
    this.#dtype = dtype;
  }

  /** The folder of a complete model. One rename creates it, so it is never incomplete. */
  model(commit: string): string {
    return join(this.folder, `${commit}-${this.#dtype}`);
  }

  /** The folder of a download: `model/` becomes the model's folder, `counts/` has the progress of each file. */
  aside(commit: string): string {
    return join(this.folder, `.${commit}-${this.#dtype}.partial`);
  }

  /**
   * The lock of the model pulled as `commit`, if each of its files exists with the right size. Contents are not read.
   * @returns undefined also for an invalid lock, and for the lock of another model
   */
  async read(repo: string, commit: string): Promise<Lock | undefined> {
    const dir = this.model(commit);
    const text = await readRegularText(join(dir, LOCK_FILE_NAME)).catch(() => undefined);
    const lock = text === undefined ? undefined : parseLock(text);
    if (!lock || lock.repo !== repo || lock.commit !== commit || lock.dtype !== this.#dtype) return undefined;
    const sizes = lock.files.map(async ({ path, size }) => {
      const found = await stat(join(dir, path)).catch(() => undefined);
      return found?.isFile() === true && found.size === size;
    });
    return (await Promise.all(sizes)).every(Boolean) ? lock : undefined;
  }

  /** The commit that a revision had when it was pulled. */
  async readRef(revision: string): Promise<string | undefined> {
    const text = await readRegularText(join(this.#refs(), this.#ref(revision))).catch(() => "");
    return CommitSchema.safeParse(text.trim()).data;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    const refs = this.#refs();
    await mkdir(refs, { recursive: true });
    const name = this.#ref(revision);
    await withAside(refs, name, Buffer.from(`${commit}\n`), (aside) => rename(aside, join(refs, name)));
  }

  /** Waits for other processes that pull from this repository. The lock of a process that ended does not count. */
  async lock(signal: AbortSignal): Promise<OutputLock> {
    for (;;) {
      throwIfAborted(signal);
      try {
        return await lockOutput(this.folder);
      } catch (error) {
        if (!(error instanceof LabelmillError && error.code === "OUTPUT_LOCKED")) throw error;
        await delay(LOCK_LOOK_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  /**
   * Turns the download into the model, in one step, after syncing all of it to the disk. Removes interrupted downloads of other
   * commits.
   */
  async publish(lock: Lock): Promise<void> {
    const aside = this.aside(lock.commit);
    const made = join(aside, "model");
    await writeFile(join(made, LOCK_FILE_NAME), `${JSON.stringify(lock, null, 2)}\n`, { flush: true });
    for (const entry of await readdir(made, { recursive: true, withFileTypes: true }))
      if (entry.isDirectory()) await syncFolder(join(entry.parentPath, entry.name));
    await syncFolder(made);
    // Moves a damaged model away. After a kill between the two renames, the next pull finds the whole download.
    await rename(this.model(lock.commit), join(aside, "damaged")).catch((error: unknown) => {
      if (systemCode(error) !== "ENOENT") throw error;
    });
    await rename(made, this.model(lock.commit));
    await syncFolder(this.folder);
    const leftover = new RegExp(`^\\.[0-9a-f]{40}-${this.#dtype}\\.partial$`);
    for (const name of await readdir(this.folder))
      if (leftover.test(name)) await rm(join(this.folder, name), { recursive: true, force: true });
  }

  /** The free bytes for this folder; infinite if the file system does not report them. */
  async freeBytes(): Promise<number> {
    const { blocks, bavail, bsize } = await statfs(this.folder);
    return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
  }

  #refs(): string {
    return join(this.folder, "refs");
  }

  #ref(revision: string): string {
    return `${encodeURIComponent(revision)}-${this.#dtype}`;
  }
}

function parseLock(text: string): Lock | undefined {
  try {
    return LockSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
