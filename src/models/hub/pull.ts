import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { LabelmillError, systemCode } from "../../errors.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import { storeError } from "../../storage/fs/error.ts";
import { CommitSchema, type Lock, type Pins, RepoSchema, RevisionSchema } from "../lock-file.ts";
import { HUB_LIMITS, HubHttp, type HubLimits } from "./http.ts";
import { type HubFile, HubRepo } from "./hub.ts";
import { download } from "./pull-download.ts";
import { withExternal, withPinned } from "./pull-external.ts";
import { PullFolder } from "./pull-folder.ts";
import { hashAnnounced } from "./pull-hash.ts";
import { PartialFile } from "./pull-partial.ts";
import { byPath, checkFiles, checkPlan, type Plan, pinDifferences, planPull } from "./pull-plan.ts";

export type ModelSource = {
  /** `owner/name` on the hub. */
  repo: string;
  /** A branch, a tag or a commit. */
  revision: string;
  dtype: Dtype;
};

export type Pulled = {
  /** The model's folder, in the layout of the repository. */
  dir: string;
  /** Its content. `revision` is the one by which it was downloaded. */
  lock: Lock;
};

export type PullProgress = { doneBytes: number; totalBytes: number; file: string };

export type PullOptions = {
  modelsDir: string;
  /** The hub's address, such as `https://huggingface.co`. */
  endpoint: string;
  /** Sent to the hub's origin only, and never printed. */
  token?: string | undefined;
  /** The files that the model must have. */
  pins?: Pins | undefined;
  /** Called for each received piece: about ten thousand times for a large model. Bytes of an earlier download count as done. */
  onProgress?: ((progress: PullProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
  limits?: Partial<HubLimits> | undefined;
};

/**
 * Finds a pulled model without the network: by the commit of the pins, by the revision if it is a commit, or by the commit that
 * the revision had when it was last pulled.
 *
 * Checks the lock and the size of each file. Contents were hashed by the pull, and loading the model hashes them again for its
 * digest.
 *
 * @returns undefined if no pulled model matches the source and the pins
 * @throws LabelmillError USAGE for an invalid source
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
 * Downloads a model from a hub, unless the one on this machine is equal. It requests the current commit of the revision, continues
 * an interrupted download, and checks the size and hash of every file before the model can be used. Of concurrent processes,
 * one downloads; the others wait and use its result.
 *
 * @throws LabelmillError USAGE, CONFIG_INVALID (endpoint, token), MODEL_NOT_FOUND (no such repository, revision or weights),
 * MODEL_HASH (other files than announced or pinned), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, STORE_FAILED (the folder; a full disk),
 * ABORTED (by `signal`)
 */
export async function pullModel(source: ModelSource, options: PullOptions): Promise<Pulled> {
  checkSource(source);
  const { signal = new AbortController().signal, token, pins } = options;
  const limits = { ...HUB_LIMITS, ...options.limits };
  const at = (stop: AbortSignal) =>
    new HubRepo(new HubHttp({ endpoint: options.endpoint, token, limits, signal: stop }), source);
  const announced = await planPull(at(signal), source.dtype);
  const plan = pins ? await withPinned(at(signal), announced, pins) : announced;
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

/** The lock of the pulled model, if its contents are equal to the hub's. */
async function readIntact({ source, options, folder, plan, repo }: Pulling): Promise<Lock | undefined> {
  const lock = await folder.read(source.repo, plan.commit);
  if (!lock) return undefined;
  const dir = folder.model(plan.commit);
  const isIntact = async (files: readonly HubFile[]): Promise<boolean> => {
    for (const file of files) {
      const sha256 = await hashAnnounced(join(dir, file.path), file);
      const locked = lock.files.find(({ path }) => path === file.path);
      if (sha256 === undefined || sha256 !== locked?.sha256) return false;
    }
    return true;
  };
  if (!(await isIntact(plan.files))) return undefined;
  const whole = await withExternal(repo, plan, join(dir, plan.onnx));
  if (lock.files.length !== whole.files.length || !(await isIntact(newIn(whole, plan)))) return undefined;
  return options.pins && pinDifferences(lock.files, options.pins.files).length > 0 ? undefined : lock;
}

/** @throws LabelmillError MODEL_HASH, after removing the download, so that the next try starts from the beginning */
async function fetchAll(pulling: Pulling): Promise<Lock> {
  const { folder, plan, options, repo } = pulling;
  const aside = folder.aside(plan.commit);
  try {
    const files = await fetchWhole(pulling, aside);
    if (options.pins) checkFiles(repo, files, options.pins);
    const { revision, dtype } = pulling.source;
    const lock: Lock = { schemaVersion: 1, repo: repo.repo, revision, dtype, commit: plan.commit, files };
    await folder.publish(lock);
    return lock;
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "MODEL_HASH")
      await rm(aside, { recursive: true, force: true });
    throw error;
  }
}

/** Downloads in two steps: the checked ONNX file is needed to find the files with its weights. */
async function fetchWhole(pulling: Pulling, aside: string): Promise<Lock["files"]> {
  const { plan, repo } = pulling;
  const first = await fetchFiles(pulling, aside, plan.files, 0);
  const whole = await withExternal(repo, plan, join(aside, "model", plan.onnx));
  const more = newIn(whole, plan);
  if (more.length === 0) return first;
  const before = plan.files.reduce((sum, { size }) => sum + size, 0);
  const second = await fetchFiles(pulling, aside, more, before);
  return [...first, ...second].sort(byPath);
}

function newIn(whole: Plan, plan: Plan): HubFile[] {
  const known = new Set(plan.files.map(({ path }) => path));
  return whole.files.filter(({ path }) => !known.has(path));
}

/** @param beforeBytes the bytes of earlier steps, for the progress */
async function fetchFiles(
  pulling: Pulling,
  aside: string,
  files: readonly HubFile[],
  beforeBytes: number,
): Promise<Lock["files"]> {
  const { options, limits, folder, repo, plan, stop } = pulling;
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  await using open = new AsyncDisposableStack();
  const partials: PartialFile[] = [];
  const doneBytes = () => partials.reduce((sum, partial) => sum + partial.doneBytes, 0);
  const onPiece = (file: string) =>
    options.onProgress?.({ doneBytes: beforeBytes + doneBytes(), totalBytes: beforeBytes + totalBytes, file });
  try {
    for (const file of files) partials.push(open.use(await PartialFile.open(aside, file, limits.rangeBytes)));
    const needed = totalBytes - doneBytes();
    const free = await folder.freeBytes();
    if (needed > free) throw noSpace(folder, needed, free);
    onPiece(files[0]!.path);
    await download({ repo, commit: plan.commit, partials, atOnce: limits.atOnce, onPiece, stop });
    return await checkContents(pulling, aside, partials);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOSPC" || code === "EDQUOT") throw noSpace(folder, totalBytes - doneBytes(), undefined, error);
    throw error;
  }
}

/** Hashes the downloaded files and syncs them to the disk. */
async function checkContents(
  { source, plan }: Pulling,
  aside: string,
  partials: readonly PartialFile[],
): Promise<Lock["files"]> {
  const files: Lock["files"] = [];
  for (const partial of partials) {
    const { path, size, hash } = partial.file;
    const sha256 = await hashAnnounced(join(aside, "model", path), partial.file);
    if (sha256 === undefined) {
      const message = `model ${source.repo}@${plan.commit}: ${path}: expected ${size} bytes with the hash ${hash.hex}, as the hub announced, got others: the download is removed. Pull the model again`;
      throw new LabelmillError("MODEL_HASH", message);
    }
    await partial.sync();
    files.push({ path, size, sha256 });
  }
  return files;
}

function noSpace({ folder }: PullFolder, needed: number, free?: number, cause?: unknown): LabelmillError {
  const got = free === undefined ? "the disk is full" : `only ${free} are free`;
  const message = `${folder}: expected space for ${needed} more bytes of the model, but ${got}: free space there, or choose another folder for models; the next try continues the download`;
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
