import type { FieldRule } from "../../../src/inference/model/field-rules.ts";
import { IMAGE_FIELDS } from "../../../src/inference/model/image-fields.ts";
import { PROCESSORS } from "../../../src/inference/model/image-processors.ts";
import { CONFIG_FIELDS, TOKENIZER_CONFIG_FIELDS, TOKENIZER_FIELDS } from "../../../src/inference/model/text-fields.ts";

/** The tables of docs/models.md that are generated from the code, by the names of their markers. */
const TABLES: Record<string, () => string[]> = {
  "config.json": () => fieldTable(CONFIG_FIELDS),
  "tokenizer_config.json": () => fieldTable(TOKENIZER_CONFIG_FIELDS),
  "tokenizer.json": () => fieldTable(TOKENIZER_FIELDS),
  "preprocessor_config.json": () => fieldTable(IMAGE_FIELDS),
  "image processors": processorTable,
};

/** A document with its tables generated again. A table is between `<!-- NAME -->` and `<!-- end -->`. */
export function withTables(document: string): string {
  return document.replace(
    /(<!-- (?!end )([\w. -]+) -->\n)[\s\S]*?(?=<!-- end -->)/g,
    (whole, begin: string, name: string) => {
      const table = TABLES[name];
      return table ? `${begin}\n${table().join("\n")}\n\n` : whole;
    },
  );
}

export const tableNames: readonly string[] = Object.keys(TABLES);

function fieldTable(rules: readonly FieldRule[]): string[] {
  const rows = rules.map(({ fields, effect, what, allows }) => {
    const names = fields.map((field) => (field.startsWith("(") ? field : `\`${field}\``)).join(", ");
    return `| ${names} | ${effect} | ${allows && effect === "refused" ? "unless " : ""}${what} |`;
  });
  return ["| field | | |", "| --- | --- | --- |", ...rows];
}

function processorTable(): string[] {
  const rows = Object.entries(PROCESSORS).map(
    ([name, { square, filter, crop, size, cropSize, mean, std, cropPct }]) => {
      const cells = [
        `\`${name}\``,
        size === undefined
          ? "refused"
          : Array.isArray(size)
            ? size.join(" × ")
            : `${square ? `${size} × ${size}` : size}`,
        square ? "a square" : "the shortest edge",
        filter,
        crop === undefined ? "refused" : cropPct ? "by `crop_pct`, 224/256" : crop ? `${cropSize} × ${cropSize}` : "no",
        `${mean?.join(", ")} and ${std?.join(", ")}`,
      ];
      return `| ${cells.join(" | ")} |`;
    },
  );
  const head = ["class", "`size`", "a number as `size` is", "`resample`", "crop", "`image_mean` and `image_std`"];
  return [`| ${head.join(" | ")} |`, `|${" --- |".repeat(head.length)}`, ...rows];
}
