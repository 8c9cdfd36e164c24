import type { Task } from "../../schemas/task.ts";
import { type ImageRecipe, parseImageRecipe } from "./image-recipe.ts";
import { canonicalJson, type Json, readModelJson, show } from "./json.ts";
import { existsIn, invalidModel, withinModel } from "./model-folder.ts";
import type { PaddingSide } from "./tokenizer/config.ts";
import { readTokenizerFiles } from "./tokenizer/files.ts";

const CONFIG = "config.json";
const PREPROCESSOR = "preprocessor_config.json";
/** Newer than PREPROCESSOR, for models with several kinds of input. The recipe is its `image_processor`. */
const PROCESSOR = "processor_config.json";
const TOKENIZER = ["tokenizer.json", "tokenizer_config.json"];

/** What the files of a task's models say about the preparation of items. */
export type TaskFiles = {
  /** The files that decide answers, besides config.json and the weights. */
  files: readonly string[];
  padId: number;
  paddingSide: PaddingSide;
  recipe?: ImageRecipe;
};

type TaskReader = {
  /** The end of the names in `architectures` of config.json. */
  architecture: string;
  /** Files that identify the task where `architectures` is missing, for error messages. */
  evidence: string;
  hasEvidence: (dir: string) => Promise<boolean>;
  read: (dir: string, config: Json) => Promise<TaskFiles>;
};

const READERS: Record<Task, TaskReader> = {
  "text-classification": {
    architecture: "ForSequenceClassification",
    evidence: "tokenizer.json",
    hasEvidence: (dir) => existsIn(dir, "tokenizer.json"),
    read: readTextFiles,
  },
  "image-classification": {
    architecture: "ForImageClassification",
    evidence: `${PREPROCESSOR} or image_processor in ${PROCESSOR}`,
    hasEvidence: async (dir) => (await existsIn(dir, PREPROCESSOR)) || (await nestedRecipe(dir)) !== undefined,
    read: readImageFiles,
  },
};
const READER_ENTRIES = Object.entries(READERS) as [Task, TaskReader][];

/** Determines a model's task from `architectures` in its config.json or, where that is missing, from its files. Throws MODEL_INVALID. */
export async function taskOf(dir: string, config: Json): Promise<Task> {
  const architectures = Array.isArray(config.architectures) ? config.architectures : [];
  if (architectures.length > 0) {
    const found = READER_ENTRIES.find(([, { architecture }]) => String(architectures[0]).endsWith(architecture));
    if (found) return found[0];
    const expected = `a name that ends in ${READER_ENTRIES.map(([, { architecture }]) => architecture).join(" or ")}`;
    throw invalidModel(dir, `${CONFIG}: architectures: expected ${expected}, got ${show(config.architectures)}`);
  }
  const checks = await Promise.all(READER_ENTRIES.map(([, { hasEvidence }]) => hasEvidence(dir)));
  const tasks = READER_ENTRIES.filter((_, at) => checks[at]);
  if (tasks.length === 1) return tasks[0]![0];
  const expected = `the files of one task (${READER_ENTRIES.map(([, { evidence }]) => evidence).join("; ")})`;
  const got = tasks.length === 0 ? "none of them" : `those of ${tasks.map(([task]) => task).join(" and ")}`;
  throw invalidModel(dir, `${CONFIG}: architectures is missing: without it, expected ${expected}, got ${got}`);
}

/** Reads the files of a task's model. Throws MODEL_INVALID, naming the file and the field. */
export function readTaskFiles(dir: string, task: Task, config: Json): Promise<TaskFiles> {
  return READERS[task].read(dir, config);
}

async function readTextFiles(dir: string): Promise<TaskFiles> {
  const { padId, paddingSide } = await readTokenizerFiles(dir);
  return { files: TOKENIZER, padId, paddingSide };
}

/** Where two files have a recipe, versions of transformers differ in which one they read, so both must be the same. */
async function readImageFiles(dir: string, config: Json): Promise<TaskFiles> {
  const unused = { padId: 0, paddingSide: "right" } as const;
  const hints = { modelType: config.model_type, processorType: config.image_processor_type };
  const parse = (json: unknown, file: string) => withinModel(dir, () => parseImageRecipe(json, { ...hints, file }));
  const nested = await nestedRecipe(dir);
  const other = nested === undefined ? undefined : parse(nested, `${PROCESSOR}, image_processor`);
  if (other && !(await existsIn(dir, PREPROCESSOR))) return { ...unused, files: [PROCESSOR], recipe: other };
  const recipe = parse(await readModelJson(dir, PREPROCESSOR), PREPROCESSOR);
  if (other === undefined || canonicalJson(other) === canonicalJson(recipe))
    return { ...unused, files: [PREPROCESSOR], recipe };
  throw invalidModel(
    dir,
    `${PROCESSOR}: image_processor: expected the same as in ${PREPROCESSOR}, got something else: remove one of them`,
  );
}

/** `image_processor` of processor_config.json; undefined if the file or the field is absent. */
async function nestedRecipe(dir: string): Promise<unknown> {
  return (await existsIn(dir, PROCESSOR)) ? (await readModelJson(dir, PROCESSOR)).image_processor : undefined;
}
