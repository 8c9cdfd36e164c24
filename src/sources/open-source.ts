import type { Readable } from "node:stream";
import type { ReadOptions } from "../schemas/input.ts";
import type { Task } from "../schemas/task.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { type OpenImages, openImageSource } from "./open-images.ts";
import { openTextSource } from "./open-texts.ts";
import type { Source } from "./source.ts";

type OpenSource = (
  from: string | { stdin: Readable },
  read: ReadOptions,
  s3?: S3,
  options?: OpenImages,
) => Promise<Source>;

/** How an input of each task is opened. */
export const OPEN_SOURCE: Record<Task, OpenSource> = {
  "text-classification": openTextSource,
  "image-classification": openImageSource,
};
