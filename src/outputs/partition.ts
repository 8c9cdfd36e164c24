/** Hive's own name for the partition of rows that have no value. */
const NO_VALUE = "__HIVE_DEFAULT_PARTITION__";

/** What Hive escapes in the names of partitions: control characters, and what a path or a shell may take for its own. */
const ESCAPED = /[^ -~\u0080-\uffff]|["#%'*/:=?\\{[\]^]/g;

/** The folder of rows with this label; null and the empty label have none. */
export function labelFolder(label: string | null): string {
  return `label=${label === null || label === "" ? NO_VALUE : escapePartition(label)}/`;
}

/** As Hive escapes: `%` and two digits, which DuckDB, Spark and pyarrow read back. */
export function escapePartition(value: string): string {
  return value
    .toWellFormed()
    .replaceAll(ESCAPED, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}
