import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { LabelmillError, systemCode } from "../errors.ts";
import type { Dtype } from "../schemas/dtype.ts";
import { storeError } from "../storage/fs-error.ts";
import { HubRepo } from "./hub.ts";
import { HUB_LIMITS, HubHttp, type HubLimits } from "./hub-http.ts";
import { CommitSchema, type Lock, type Pins, RepoSchema, RevisionSchema } from "./lock.ts";
import { download } from "./pull-download.ts";
import { PullFolder } from "./pull-folder.ts";
import { hashAnnounced } from "./pull-hash.ts";
import { PartialFile } from "./pull-partial.ts";
import { checkFiles, checkPlan, type Plan, pinDifferences, planPull } from "./pull-plan.ts";

export type ModelSource = {
  /** `owner/name` on the hub. */
  repo: string;
  /** A branch, a tag or a commit. */
  revision: string;
  dtype: Dtype;
};

export type Pulled = {
  /** The model's folder, in the repository's own layout. */
  dir: string;
  /** What stands in it; its `revision` is the one that it was downloaded by. */
  lock: Lock;
};

export type PullProgress = { doneBytes: number; totalBytes: number; file: string };

export type PullOptions = {
  modelsDir: string;
  /** The hub's address, `https://huggingface.co` for one. */
  endpoint: string;
  /** Sent to the hub's origin only, and printed nowhere. */
  token?: string | undefined;
  /** What the model has to be. */
  pins?: Pins | undefined;
  /** Called for each piece that came, some ten thousand times for a large model. What an earlier process downloaded counts as done. */
  onProgress?: ((progress: PullProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
  limits?: Partial<HubLimits> | undefined;
};

/**
 * Finds what was pulled before, without the network: by the pins' commit, by the revision if it is a commit, or by the
 * commit that the revision's name was pulled as, which it keeps meaning until it is pulled again.
 *
 * Looks at the lock and at the size of each file. Contents were hashed when they were pulled, and are hashed again by
 * whoever loads the model for its digest.
 *
 * @returns undefined if nothing is there that fits the source and the pins
 * @throws LabelmillError USAGE for a source that can be none
 */
export async function findPulled(source: ModelSource, modelsDir: string, pins?: Pins): Promise<Pulled | undefined> {
  checkSource(source);
  const folder = new PullFolder(modelsDir, source);
  const named = isCommit(source.revision) ? source.revision : undefined;
  const commit = pins?.commit ?? named ?? (await folder.readRef(source.revision));
  if (commit === undefined || (named !== undefined && named !== commit)) return undefined;
  const lock = await folder.read(source.repo, commit);
  if (!lock || (pins && pinDifferences(lock.files, pins.files).length > 0)) return undefined;
  return { dir: folder.model(commit), lock };
}

/**
 * Downloads a model from a hub, or makes sure that the one here is what the hub has: asks what the revision is now, goes on
 * where an earlier download stopped, and checks every file's size and hash before anything can be used. Of several
 * processes at once one downloads, and the others wait for it and use what it made.
 *
 * @throws LabelmillError USAGE, CONFIG_INVALID (endpoint, token), MODEL_NOT_FOUND (no such repository, revision or weights),
 * MODEL_HASH (not what was announced or pinned), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, STORE_FAILED (the folder; a full disk),
 * ABORTED (by `signal`)
 */
export async function pullModel(source: ModelSource, options: PullOptions): Promise<Pulled> {
  checkSource(source);
  const { signal = new AbortController().signal, token, pins } = options;
  const limits = { ...HUB_LIMITS, ...options.limits };
  const at = (stop: AbortSignal) =>
    new HubRepo(new HubHttp({ endpoint: options.endpoint, token, limits, signal: stop }), source);
  const plan = await planPull(at(signal), source.dtype);
  if (pins) checkPlan(at(signal), plan, pins);
  const folder = new PullFolder(options.modelsDir, source);
  try {
    await using held = await folder.lock(signal);
    const stop = new AbortController();
    const repo = at(AbortSignal.any([signal, held.lost, stop.signal]));
    const pulling: Pulling = { source, options, limits, folder, repo, plan, stop };
    const lock = (await readIntact(pulling)) ?? (await fetchAll(pulling));
    if (!isCommit(source.revision)) await folder.writeRef(source.revision, plan.commit);
    return { dir: folder.model(plan.commit), lock };
  } catch (error) {
    throw storeError(error, "write", folder.folder);
  }
}

type Pulling = {
  source: ModelSource;
  options: PullOptions;
  limits: HubLimits;
  folder: PullFolder;
  repo: HubRepo;
  plan: Plan;
  /** Stops all requests of `repo`. */
  stop: AbortController;
};

/** The lock of what is here already, if its contents are what the hub announces. */
async function readIntact({ source, options, folder, plan }: Pulling): Promise<Lock | undefined> {
  const lock = await folder.read(source.repo, plan.commit);
  if (lock?.files.length !== plan.files.length) return undefined;
  for (const file of plan.files) {
    const sha256 = await hashAnnounced(join(folder.model(plan.commit), file.path), file);
    const locked = lock.files.find(({ path }) => path === file.path);
    if (sha256 === undefined || sha256 !== locked?.sha256) return undefined;
  }
  return options.pins && pinDifferences(lock.files, options.pins.files).length > 0 ? undefined : lock;
}

/** @throws LabelmillError MODEL_HASH, after all that was downloaded is removed, so that the next try begins anew */
async function fetchAll(pulling: Pulling): Promise<Lock> {
  const { folder, plan } = pulling;
  const { repo, revision, dtype } = pulling.source;
  const aside = folder.aside(plan.commit);
  try {
    const files = await fetchFiles(pulling, aside);
    const lock: Lock = { schemaVersion: 1, repo, revision, dtype, commit: plan.commit, files };
    await folder.publish(lock);
    return lock;
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "MODEL_HASH")
      await rm(aside, { recursive: true, force: true });
    throw error;
  }
}

async function fetchFiles(pulling: Pulling, aside: string): Promise<Lock["files"]> {
  const { options, limits, folder, repo, plan, stop } = pulling;
  const totalBytes = plan.files.reduce((sum, { size }) => sum + size, 0);
  await using open = new AsyncDisposableStack();
  const partials: PartialFile[] = [];
  const doneBytes = () => partials.reduce((sum, partial) => sum + partial.doneBytes, 0);
  const onPiece = (file: string) => options.onProgress?.({ doneBytes: doneBytes(), totalBytes, file });
  try {
    for (const file of plan.files) partials.push(open.use(await PartialFile.open(aside, file, limits.rangeBytes)));
    const needed = totalBytes - doneBytes();
    const free = await folder.freeBytes();
    if (needed > free) throw noSpace(folder, needed, free);
    onPiece(plan.files[0]!.path);
    await download({ repo, commit: plan.commit, partials, atOnce: limits.atOnce, onPiece, stop });
    return await checkContents(pulling, aside, partials);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOSPC" || code === "EDQUOT") throw noSpace(folder, totalBytes - doneBytes(), undefined, error);
    throw error;
  }
}

/** Hashes what was downloaded, and makes it safe on the disk. */
async function checkContents(
  { source, options, repo, plan }: Pulling,
  aside: string,
  partials: readonly PartialFile[],
): Promise<Lock["files"]> {
  const files: Lock["files"] = [];
  for (const partial of partials) {
    const { path, size, hash } = partial.file;
    const sha256 = await hashAnnounced(join(aside, "model", path), partial.file);
    if (sha256 === undefined) {
      const message = `model ${source.repo}@${plan.commit}: ${path}: expected ${size} bytes with the hash ${hash.hex}, as the hub announced, got others: they are removed, and nothing is used. Pull it again`;
      throw new LabelmillError("MODEL_HASH", message);
    }
    await partial.sync();
    files.push({ path, size, sha256 });
  }
  if (options.pins) checkFiles(repo, files, options.pins);
  return files;
}

function noSpace({ folder }: PullFolder, needed: number, free?: number, cause?: unknown): LabelmillError {
  const got = free === undefined ? "the disk got full" : `${free} are free`;
  const message = `${folder}: expected room for ${needed} more bytes of the model, but ${got}: free space there, or choose another folder for models; what is downloaded stays for the next try`;
  return new LabelmillError("STORE_FAILED", message, { cause });
}

function checkSource({ repo, revision }: ModelSource): void {
  check(RepoSchema, repo, "a model on the hub, OWNER/NAME");
  check(RevisionSchema, revision, "a revision: a branch, a tag or a commit");
}

function check(schema: z.ZodType, value: string, expected: string): void {
  if (schema.safeParse(value).success) return;
  throw new LabelmillError("USAGE", `expected ${expected}, got ${JSON.stringify(value).slice(0, 200)}`);
}

function isCommit(revision: string): boolean {
  return CommitSchema.safeParse(revision).success;
}
