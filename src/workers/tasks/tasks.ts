import type { Task } from "../../schemas/task.ts";
import { imageClassification } from "./image-classification.ts";
import type { TaskSupport } from "./task-support.ts";
import { textClassification } from "./text-classification.ts";

/** The tasks that a worker can serve. */
export const TASK_SUPPORT: Record<Task, TaskSupport> = {
  "text-classification": textClassification,
  "image-classification": imageClassification,
};
