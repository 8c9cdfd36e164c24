import { readFileSync } from "node:fs";

/** This package's name and version, as written into every run. */
export const SOFTWARE = readSoftware();

function readSoftware(): string {
  const { name, version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return `${name} ${version}`;
}
