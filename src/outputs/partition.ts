/** The name that Hive gives to the partition of rows without a value. */
const NO_VALUE = "__HIVE_DEFAULT_PARTITION__";

/**
 * The characters that Hive escapes in the names of partitions: control characters, and special characters of paths and
 * shells.
 */
const ESCAPED = /[^ -~\u0080-\uffff]|["#%'*/:=?\\{[\]^]/g;

/**
 * The folder of rows with this label.
 * @param label null: rows in error; they and rows with an empty label share a folder
 */
export function labelFolder(label: string | null): string {
  return `label=${label === null || label === "" ? NO_VALUE : escapePartition(label)}/`;
}

/** Escapes as Hive does, with `%` and two digits. DuckDB, Spark and pyarrow read it back. */
export function escapePartition(value: string): string {
  return value
    .toWellFormed()
    .replaceAll(ESCAPED, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}
