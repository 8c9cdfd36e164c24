/** Generates the tables of docs/models.md: `node test/helpers/models/write-tables.ts`. */
import { readFile, writeFile } from "node:fs/promises";
import { withTables } from "./field-table.ts";

const DOCUMENT = new URL("../../../docs/models.md", import.meta.url);
await writeFile(DOCUMENT, withTables(await readFile(DOCUMENT, "utf8")));
