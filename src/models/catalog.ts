import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { LabelmillError, messageOf, systemCode } from "../errors.ts";
import { readRegularText } from "../regular-file.ts";
import { DtypeSchema } from "../schemas/dtype.ts";
import { type Task, TaskSchema } from "../schemas/task.ts";
import { BUILT_IN_DIR } from "./built-in.ts";
import { PinsSchema, RepoSchema, RevisionSchema } from "./lock-file.ts";

const SHIPPED = join(BUILT_IN_DIR, "catalog.json");

/** The name of a model: a word, or `hf:OWNER/NAME@REVISION` for a repository of the hub without another name. */
const IdSchema = z
  .string()
  .max(300)
  .regex(
    /^([A-Za-z0-9][\w.-]{0,63}|hf:[^@\s]+@\S+)$/,
    "expected a name of letters, digits, `_`, `.` and `-` (64 at most), or hf:OWNER/NAME@REVISION",
  );

/** The pins of a folder have no commit. */
const PinSchema = PinsSchema.partial({ commit: true });

const EntrySchema = z
  .strictObject({
    id: IdSchema,
    task: TaskSchema,
    /** A repository of the hub in the layout for ONNX. */
    repo: RepoSchema.optional(),
    /** The branch, tag or commit of `repo`. Default: `main`. */
    revision: RevisionSchema.optional(),
    /** A folder in the Hugging Face layout, relative to the catalog's folder. */
    folder: z.string().min(1).max(4096).optional(),
    /** A repository of the hub without ONNX: the user exports it once and adds the folder. */
    export: RepoSchema.optional(),
    /** A description for users. */
    about: z.string().max(300).optional(),
    /** The required files, by dtype. */
    pins: z.partialRecord(DtypeSchema, PinSchema).optional(),
  })
  .superRefine(({ repo, revision, folder, export: exported, pins }, context) => {
    const issue = (message: string, ...path: string[]) => context.addIssue({ code: "custom", path, message });
    if ([repo, folder, exported].filter((place) => place !== undefined).length !== 1)
      issue("expected exactly one of repo, folder and export");
    if (revision !== undefined && repo === undefined) issue("expected it only beside repo", "revision");
    for (const [dtype, { commit }] of Object.entries(pins ?? {})) {
      if (repo !== undefined && commit === undefined)
        issue("expected a commit, 40 hex digits", "pins", dtype, "commit");
      if (repo === undefined && commit !== undefined) issue("expected it only beside repo", "pins", dtype, "commit");
    }
  });

const FileSchema = z
  .strictObject({
    schemaVersion: z.literal(1),
    /** The default model of each task. */
    defaults: z.partialRecord(TaskSchema, IdSchema).optional(),
    models: z.array(EntrySchema).max(10_000),
  })
  .superRefine(({ models }, context) => {
    const places = new Map<string, number>();
    for (const [at, { id }] of models.entries()) {
      const first = places.get(id);
      if (first !== undefined)
        context.addIssue({
          code: "custom",
          path: ["models", at, "id"],
          message: `expected a unique id, models[${first}] has the same`,
        });
      places.set(id, at);
    }
  });

/** The content of a catalog file. */
export type CatalogFile = z.infer<typeof FileSchema>;
export type FileEntry = CatalogFile["models"][number];

/** An entry whose `folder` is absolute. */
export type CatalogEntry = FileEntry & { builtIn: boolean };

/** The named models: the built-in catalog, overridden by the user's. */
export type Catalog = {
  /** By id, in the order of the files. */
  entries: ReadonlyMap<string, CatalogEntry>;
  /** The id of the default model of each task. */
  defaults: Readonly<Record<Task, string>>;
};

/**
 * @param file the user's catalog, whose entries replace built-in ones of the same id
 * @param needed whether the file must exist
 * @throws LabelmillError CONFIG_INVALID with the file, the path in it and the reason
 */
export async function openCatalog(file: string, needed: boolean): Promise<Catalog> {
  const shipped = await readCatalog(SHIPPED);
  if (!shipped) throw new LabelmillError("CONFIG_INVALID", `catalog ${SHIPPED}: expected this file, but it is missing`);
  const own = await readCatalog(file);
  if (!own && needed)
    throw new LabelmillError(
      "CONFIG_INVALID",
      `catalog ${file}: expected this file, but it is missing: \`labelmill models add\` and \`models lock\` create it`,
    );
  const entries = new Map<string, CatalogEntry>();
  for (const entry of shipped.models) entries.set(entry.id, placed(entry, SHIPPED, entry.folder !== undefined));
  for (const entry of own?.models ?? []) entries.set(entry.id, placed(entry, file, false));
  return { entries, defaults: defaultsOf(shipped, own, entries, file) };
}

/** @returns undefined if the file does not exist */
export async function readCatalog(file: string): Promise<CatalogFile | undefined> {
  let text: string;
  try {
    text = await readRegularText(file);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw invalid(file, "", `cannot be read: ${messageOf(error)}`, error);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw invalid(file, "", `expected JSON: ${messageOf(error)}`, error);
  }
  return parseCatalog(content, file);
}

/** @throws LabelmillError CONFIG_INVALID, as `openCatalog` */
export function parseCatalog(content: unknown, file: string): CatalogFile {
  const parsed = FileSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const { code, path, message } = parsed.error.issues[0]!;
  const got = code === "unrecognized_keys" ? "" : `, got ${show(valueAt(content, path))}`;
  throw invalid(file, pathText(path), `${message}${got}`);
}

/** The names of the built-in models. */
export function builtInNames({ entries }: Catalog): string {
  return [...entries.values()].flatMap(({ id, builtIn }) => (builtIn ? [id] : [])).join(", ");
}

function placed(entry: FileEntry, file: string, builtIn: boolean): CatalogEntry {
  return entry.folder === undefined
    ? { ...entry, builtIn }
    : { ...entry, builtIn, folder: resolve(dirname(file), entry.folder) };
}

function defaultsOf(
  shipped: CatalogFile,
  own: CatalogFile | undefined,
  entries: Catalog["entries"],
  file: string,
): Catalog["defaults"] {
  const defaults = { ...shipped.defaults, ...own?.defaults } as Record<Task, string>;
  for (const task of TaskSchema.options) {
    const id = defaults[task];
    if (entries.get(id)?.task === task) continue;
    throw invalid(file, `defaults.${task}`, `expected the id of a model for ${task}, got ${show(id)}`);
  }
  return defaults;
}

function valueAt(content: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], content);
}

/** `models[2].pins.fp32.commit` */
function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");
}

function invalid(file: string, path: string, reason: string, cause?: unknown): LabelmillError {
  return new LabelmillError("CONFIG_INVALID", `catalog ${file}: ${path === "" ? "" : `${path}: `}${reason}`, { cause });
}

function show(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length <= 100 ? text : `${text.slice(0, 99)}…`;
}
