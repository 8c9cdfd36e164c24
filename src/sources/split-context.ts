import type { Task } from "../schemas/task.ts";
import type { InputPlace } from "./bytes/origin.ts";

/** What reading a split needs: the task of its items, the place of its input, and a signal that stops it with ABORTED. */
export type SplitContext = { task: Task; place: InputPlace; signal: AbortSignal };
