import { z } from "zod";
import { InputSchema, ReadOptionsSchema } from "./input.ts";

/** Where records lie in text: the parser begins at byte `offset`, on line `line`, and takes `count` records up to `offset + bytes`. */
const TextPlaceSchema = z.strictObject({
  kind: z.literal("text"),
  offset: z.int().nonnegative(),
  /** None where the last record of a JSON array is that it is cut off. */
  bytes: z.int().nonnegative(),
  /** Bytes that the parser has to see to read these records as it would in the whole input, where that is more than `bytes`. */
  reach: z.int().positive().optional(),
  line: z.int().positive(),
  /** The parser begins within a line that it passes over: the rest of a bad record's. */
  discarding: z.literal(true).optional(),
  /** Bytes that the parser may read a second time after bad records, where that is less than at the beginning of an input. */
  credit: z.int().nonnegative().optional(),
  /** Columns of the header, for CSV; and where the wanted ones are among them, in the order column, id, kept, filtered. */
  width: z.int().positive().optional(),
  places: z.array(z.int().nonnegative()).optional(),
});

/** The column holds the images themselves, or structs of bytes and path. */
const pictures = z.literal(true).optional();

/** Rows of a Parquet file have their numbers for an address. */
const ParquetPlaceSchema = z.strictObject({ kind: z.literal("parquet"), pictures });

/** Rows of an Arrow file or stream: where the messages of their record batches begin, the first of which has `skip` rows before them. */
const ArrowPlaceSchema = z.strictObject({
  kind: z.literal("arrow"),
  batches: z.array(z.int().nonnegative()).min(1).max(1000),
  /** Where the messages of the dictionaries begin that the columns need, those of one dictionary in their order. */
  dictionaries: z.array(z.int().nonnegative()).max(100_000),
  skip: z.int().positive().optional(),
  pictures,
});

/** Members of a tar archive: from the header of the first to the end of the last, images and what is kept with them. */
const TarPlaceSchema = z.strictObject({
  kind: z.literal("tar"),
  offset: z.int().nonnegative(),
  bytes: z.int().positive(),
  /** The images are those whose headers begin from the one byte up to the other, excluded. Older versions did not tell: they had other records. */
  images: z.tuple([z.int().nonnegative(), z.int().positive()]).optional(),
  /** Records, from the split's first, whose ids are the whole names of their images: ranges, each a number and a count. */
  byName: z.array(z.tuple([z.int().nonnegative(), z.int().positive()])).optional(),
  /** Where the headers of images begin that are no records: later ones of their names replace them. */
  replaced: z.array(z.int().nonnegative()).optional(),
});

/** Records of an input that a worker reads itself: their address, and what the planner counted there. */
export const SplitSchema = z.strictObject({
  input: InputSchema,
  /** Number of the first record, and how many there are. */
  first: z.int().nonnegative(),
  count: z.int().positive(),
  /** How many of them are items of the run, where not all are. */
  selected: z.int().nonnegative().optional(),
  at: z.discriminatedUnion("kind", [TextPlaceSchema, ParquetPlaceSchema, ArrowPlaceSchema, TarPlaceSchema]),
  /** Format, delimiter and column as they were found. */
  read: ReadOptionsSchema,
  /** The share of the records that are items, of those that `read.where` lets through: by a hash of URI and number. */
  sample: z.number().positive().lt(1).optional(),
  /** The numbers of the records that are items, and no others. */
  only: z.array(z.int().nonnegative()).optional(),
  /** What made ids begin with, before `#`, where it is not what the input alone says. */
  idName: z.string().max(16_384).optional(),
});
export type Split = z.infer<typeof SplitSchema>;
export type TextPlace = z.infer<typeof TextPlaceSchema>;
export type ArrowPlace = z.infer<typeof ArrowPlaceSchema>;
export type TarPlace = z.infer<typeof TarPlaceSchema>;
