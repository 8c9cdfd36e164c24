import { z } from "zod";
import { InputSchema, ReadOptionsSchema } from "./input.ts";

/**
 * The place of records in a text file. The parser begins at byte `offset`, on line `line`, and takes `count` records up
 * to `offset + bytes`.
 */
const TextPlaceSchema = z.strictObject({
  kind: z.literal("text"),
  offset: z.int().nonnegative(),
  /** 0 if the record is the error that a JSON array is cut off. */
  bytes: z.int().nonnegative(),
  /** Bytes that the parser must see to read these records as in the whole input, if more than `bytes`. */
  reach: z.int().positive().optional(),
  line: z.int().positive(),
  /** The parser begins within a line and skips the rest of it, which belongs to an invalid record. */
  discarding: z.literal(true).optional(),
  /** Bytes that the parser may read a second time after invalid records, if fewer than at the beginning of an input. */
  credit: z.int().nonnegative().optional(),
  /** For CSV: the number of columns in the header. */
  width: z.int().positive().optional(),
  /** For CSV: the indices of the columns to read: the column, the id, kept ones, those of `where`. */
  places: z.array(z.int().nonnegative()).optional(),
});

/** The column has images, or structs of bytes and path, instead of references. */
const pictures = z.literal(true).optional();

/** The place of rows in a Parquet file: their numbers, which are in the split. */
const ParquetPlaceSchema = z.strictObject({ kind: z.literal("parquet"), pictures });

/** The place of rows in an Arrow file or stream. */
const ArrowPlaceSchema = z.strictObject({
  kind: z.literal("arrow"),
  /** Byte offsets of the messages of their record batches. */
  batches: z.array(z.int().nonnegative()).min(1).max(1000),
  /** Byte offsets of the messages of the dictionaries that the columns need. Those of one dictionary are in order. */
  dictionaries: z.array(z.int().nonnegative()).max(100_000),
  /** Rows of the first batch before the first row. */
  skip: z.int().positive().optional(),
  pictures,
});

/**
 * The place of members in a tar archive, from the header of the first to the end of the last: images and their kept
 * members.
 */
const TarPlaceSchema = z.strictObject({
  kind: z.literal("tar"),
  offset: z.int().nonnegative(),
  bytes: z.int().positive(),
  /**
   * The images are those whose headers begin at or after the first offset and before the second. Omitted by older
   * versions, which had other records.
   */
  images: z.tuple([z.int().nonnegative(), z.int().positive()]).optional(),
  /**
   * Records, counted from the first of the split, whose ids are the whole names of their images. Each range is a number
   * and a count.
   */
  byName: z.array(z.tuple([z.int().nonnegative(), z.int().positive()])).optional(),
  /**
   * Byte offsets of the headers of images that a later member of the same name replaces, so that they are not records.
   */
  replaced: z.array(z.int().nonnegative()).optional(),
});

/** Records of an input that a worker reads: their place, and their number as the planner counted it. */
export const SplitSchema = z.strictObject({
  input: InputSchema,
  /** The number of the first record. */
  first: z.int().nonnegative(),
  /** The number of records. */
  count: z.int().positive(),
  /** The number of items of the run among them. If omitted, all are. */
  selected: z.int().nonnegative().optional(),
  at: z.discriminatedUnion("kind", [TextPlaceSchema, ParquetPlaceSchema, ArrowPlaceSchema, TarPlaceSchema]),
  /** With the detected format, delimiter and column. */
  read: ReadOptionsSchema,
  /** The share of the records that are items, among those that fit `read.where`: chosen by a hash of URI and number. */
  sample: z.number().positive().lt(1).optional(),
  /** The numbers of the only records that are items. */
  only: z.array(z.int().nonnegative()).optional(),
  /** The beginning of made ids, before `#`, if it does not follow from the input alone. */
  idName: z.string().max(16_384).optional(),
});
export type Split = z.infer<typeof SplitSchema>;
export type TextPlace = z.infer<typeof TextPlaceSchema>;
export type ArrowPlace = z.infer<typeof ArrowPlaceSchema>;
export type TarPlace = z.infer<typeof TarPlaceSchema>;
