/** Tables with a column of images, as Arrow and Parquet files. */
import {
  Field,
  Int32,
  LargeBinary,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";

export type PictureValue = { bytes: Uint8Array | null; path?: string | null };

/** An Arrow stream with a column of structs of bytes and path, and a column `name` (`n0`, `n1`, …). */
export function arrowOfPictures(column: string, values: readonly PictureValue[]): Uint8Array {
  const bytes = new LargeBinary();
  const type = new Struct([new Field("bytes", bytes, true), new Field("path", new Utf8(), true)]);
  const children = [
    vectorFromArray(
      values.map((value) => value.bytes),
      bytes,
    ).data[0]!,
    vectorFromArray(
      values.map(({ path = null }) => path),
      new Utf8(),
    ).data[0]!,
  ];
  const images = makeData({ type, length: values.length, nullCount: 0, children });
  const names = vectorFromArray(
    values.map((_, row) => `n${row}`),
    new Utf8(),
  ).data[0]!;
  const numbers = vectorFromArray(
    values.map((_, row) => row),
    new Int32(),
  ).data[0]!;
  const fields = [
    new Field(column, type, true),
    new Field("name", new Utf8(), true),
    new Field("number", new Int32(), true),
  ];
  const data = makeData({
    type: new Struct(fields),
    length: values.length,
    nullCount: 0,
    children: [images, names, numbers],
  });
  return tableToIPC(new Table([new RecordBatch(new Schema(fields), data)]), "stream");
}

/** A Parquet file with a column of bytes. */
export function parquetOfBytes(column: string, values: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter();
  const schema = [
    { name: "root", num_children: 1 },
    { name: column, type: "BYTE_ARRAY" as const, repetition_type: "OPTIONAL" as const },
  ];
  const parquet = new ParquetWriter({ writer, schema, codec: "UNCOMPRESSED" });
  parquet.write({ columnData: [{ name: column, data: [...values] }] });
  parquet.finish();
  return writer.getBytes();
}
