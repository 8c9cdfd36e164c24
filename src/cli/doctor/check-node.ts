import { readFileSync } from "node:fs";
import { type Finding, ok, wrong } from "./check.ts";

/** The Node version that the package needs, for example `>=24`. */
export function neededNode(): string {
  const { engines } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
  return engines.node;
}

/** @param version the running Node, for example `24.21.0` @param needed in the form `>=24` or `>=24.1.0` */
export function checkNode(version: string, needed: string): Finding {
  const [have, least] = [version, needed.replace(/^>=\s*/, "")].map((text) => text.split(".").map(Number));
  const at = least!.findIndex((part, i) => part !== have![i]);
  const fits = at === -1 || have![at]! > least![at]!;
  if (fits) return ok(`${version} (needed: ${needed})`);
  return wrong(`got ${version}, expected ${needed}`, "install a newer Node");
}
