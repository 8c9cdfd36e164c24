import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { SourceText } from "./modules.ts";

/** The tracked files and the new ones that .gitignore does not exclude. Paths are relative to `root`. */
export function trackedFiles(root: string): SourceText[] {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const { status, stdout, stderr } = spawnSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  assert.equal(status, 0, `expected a git clone, to list its files: ${stderr}`);
  return [...new Set(stdout.split("\0"))].flatMap((path) => {
    try {
      return path === "" ? [] : [{ path, text: readFileSync(join(root, path), "utf8") }];
    } catch {
      // A file that is deleted only in the working tree, or a link to a folder.
      return [];
    }
  });
}
