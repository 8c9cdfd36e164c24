import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { SourceText } from "./modules.ts";

/** The files that git tracks, and those it would take in: none that .gitignore names. Paths are relative to `root`. */
export function trackedFiles(root: string): SourceText[] {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const { status, stdout, stderr } = spawnSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  assert.equal(status, 0, `expected a git clone, to list its files: ${stderr}`);
  return [...new Set(stdout.split("\0"))].flatMap((path) => {
    try {
      return path === "" ? [] : [{ path, text: readFileSync(join(root, path), "utf8") }];
    } catch {
      // Deleted in the working tree, but still in the index; or a link to a folder.
      return [];
    }
  });
}
