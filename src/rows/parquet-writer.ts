import type { SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { Row } from "../schemas/row.ts";
import { PARQUET_COLUMNS, type ParquetName } from "./columns.ts";
import { type KeptColumn, keptParquetColumn } from "./kept-columns.ts";
import type { ParquetColumn } from "./parquet-types.ts";

/** Rows of a row group. More would block the thread longer, and take more memory of a reader. */
const GROUP_ROWS = 10_000;

/**
 * The column whose value is in the folder of a partitioned file. Readers add it from there, and refuse a file that also
 * has it.
 */
const PARTITION_COLUMN: ParquetName = "label";

/** Encodes rows as a Parquet file (Snappy) in memory. */
export class ParquetFileWriter {
  readonly #bytes = new ByteWriter();
  readonly #columns: ParquetColumn[];
  readonly #writer: ParquetWriter;
  #rows: Row[] = [];

  constructor(kept: readonly KeptColumn[], partitioned: boolean) {
    const rowColumns = PARQUET_COLUMNS.filter(({ name }) => !(partitioned && name === PARTITION_COLUMN));
    this.#columns = [...rowColumns, ...kept.map(keptParquetColumn)];
    const root: SchemaElement = { name: "root", num_children: this.#columns.length };
    const schema = [root, ...this.#columns.flatMap(({ elements }) => elements)];
    this.#writer = new ParquetWriter({ writer: this.#bytes, schema, createdBy: "labelmill" });
  }

  add(rows: readonly Row[]): void {
    for (const row of rows) {
      this.#rows.push(row);
      if (this.#rows.length === GROUP_ROWS) this.#flush();
    }
  }

  /** @returns the bytes of the file */
  finish(): Uint8Array {
    if (this.#rows.length > 0) this.#flush();
    this.#writer.finish();
    return this.#bytes.getBytes();
  }

  #flush(): void {
    const columnData = this.#columns.map(({ name, read }) => ({ name, data: this.#rows.map(read) }));
    this.#writer.write({ columnData, rowGroupSize: GROUP_ROWS });
    this.#rows = [];
  }
}
