import type { Task } from "../../schemas/task.ts";
import { embeddedImageItem, IMAGE_COLUMNS, imageItem } from "./image-item.ts";
import type { Base } from "./image-reference.ts";
import type { ToItem } from "./record.ts";
import { TEXT_COLUMNS, textItem } from "./text-item.ts";

/** How the rows of a table or list become items of a task. */
export type TableItems = {
  /** Names of the column to search for if the options name none, in lower case, the best one first. */
  names: readonly string[];
  /** Blank lines of plain lines are not records. */
  skipBlankLines: boolean;
  /** @param base what paths in the table are relative to */
  toItem(base: Base): ToItem;
  /** Makes the item of a row whose column may contain the image itself. If omitted, a column cannot contain items of the task. */
  toEmbedded?(base: Base): ToItem;
};

export const TABLE_ITEMS: Record<Task, TableItems> = {
  "text-classification": { names: TEXT_COLUMNS, skipBlankLines: false, toItem: () => textItem },
  "image-classification": {
    names: IMAGE_COLUMNS,
    skipBlankLines: true,
    toItem: imageItem,
    toEmbedded: embeddedImageItem,
  },
};
