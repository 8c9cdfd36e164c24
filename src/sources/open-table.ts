import type { ReadOptions } from "../schemas/input.ts";
import type { Task } from "../schemas/task.ts";
import { openArrow } from "./arrow/open.ts";
import type { Origin } from "./bytes/origin.ts";
import { type ColumnarFormat, columnarFormatOf } from "./columnar/formats.ts";
import type { WantedColumn } from "./columnar/open.ts";
import type { Base } from "./item/image-reference.ts";
import { TABLE_ITEMS } from "./item/table-items.ts";
import { openParquet } from "./parquet/open.ts";
import type { Source } from "./source.ts";
import { openText } from "./text/open.ts";

const OPEN_COLUMNAR: Record<
  ColumnarFormat,
  (origin: Origin, read: ReadOptions, wanted: WantedColumn) => Promise<Source>
> = { parquet: openParquet, arrow: openArrow };

/**
 * Opens a table or list of any format as a source of items of a task.
 * @param base what paths of images in it are relative to
 * @throws LabelmillError as openParquet, openArrow and openText
 */
export async function openTable(origin: Origin, read: ReadOptions, task: Task, base: Base): Promise<Source> {
  const { names, skipBlankLines, toEmbedded, ...items } = TABLE_ITEMS[task];
  const toItem = items.toItem(base);
  const format = await columnarFormatOf(origin, read);
  if (format === undefined) return await openText(origin, read, { names, skipBlankLines }, toItem);
  const wanted = { names, toItem, ...(toEmbedded ? { toEmbedded: toEmbedded(base) } : {}) };
  return await OPEN_COLUMNAR[format](origin, read, wanted);
}
