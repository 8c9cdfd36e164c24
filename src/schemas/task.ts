import { z } from "zod";

/**
 * Every task that a model can have. A table `Record<Task, …>` makes a new task a compile error wherever it needs a
 * decision.
 */
export const TASKS = ["text-classification", "image-classification"] as const;
export const TaskSchema = z.enum(TASKS);
export type Task = z.infer<typeof TaskSchema>;
