import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ok, runCheck } from "../../../../src/cli/doctor/check.ts";
import { checkModel } from "../../../../src/cli/doctor/check-inference.ts";
import { checkNode, neededNode } from "../../../../src/cli/doctor/check-node.ts";
import { checkStore, tryStore } from "../../../../src/cli/doctor/check-store.ts";
import { LabelmillError } from "../../../../src/errors.ts";
import { loadBuiltIn } from "../../../../src/models/built-in.ts";
import { MemoryStore } from "../../../../src/storage/memory.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { MODELS, temporaryFolder } from "../../../helpers/runs/pipeline.ts";

test("a check that throws or does not answer is a finding of one line", async () => {
  assert.deepEqual(await runCheck("fine", () => ok("one\n two")), {
    name: "fine",
    state: "ok",
    found: "one two",
  });
  const refuse = () => Promise.reject(new LabelmillError("STORE_FAILED", "no\nroom"));
  assert.deepEqual(await runCheck("throws", refuse), {
    name: "throws",
    state: "wrong",
    found: "STORE_FAILED: no room",
  });
  const hangs = await runCheck("hangs", () => new Promise(() => {}), 20);
  assert.deepEqual(hangs, { name: "hangs", state: "wrong", found: "no answer within 0.02 s" });
});

test("the version of Node is compared with the version that the package needs", () => {
  assert.match(neededNode(), /^>=\d+/);
  for (const version of ["24.0.0", "24.21.0", "25.0.0", "100.1.0"])
    assert.equal(checkNode(version, ">=24").state, "ok", version);
  for (const version of ["23.99.99", "9.0.0", "24.0.9"])
    assert.equal(checkNode(version, ">=24.1").state, "wrong", version);
  assert.deepEqual([checkNode("24.1.0", ">=24.1").state, checkNode("25.0.0", ">=24.1").state], ["ok", "ok"]);
});

test("a model with a missing or truncated file is wrong; a complete model has its digest", async () => {
  await using folder = await temporaryFolder();
  for (const name of ["whole", "cut", "missing"])
    await cp(join(MODELS, "tiny-image"), join(folder.path, name), { recursive: true });
  await truncate(join(folder.path, "cut", "onnx", "model.onnx"), 100_000);
  await rm(join(folder.path, "missing", "preprocessor_config.json"));
  const check = (name: string) => runCheck(name, () => checkModel(join(folder.path, name)));

  const [whole, cut, missing] = [await check("whole"), await check("cut"), await check("missing")];
  const { digest } = await loadBuiltIn("tiny-image");
  assert.deepEqual([whole.state, whole.found.includes(digest)], ["ok", true], whole.found);
  assert.equal(cut.state, "wrong");
  assert.match(`${cut.found} ${cut.fix}`, /cut.*model\.onnx.*install labelmill again/);
  assert.equal(missing.state, "wrong");
  assert.match(missing.found, /^MODEL_INVALID: .*preprocessor_config\.json.*missing/);
});

/** A store on a server that ignores `If-None-Match`. */
class OverwritingStore extends MemoryStore {
  override async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    await this.put(key, body);
    return true;
  }
}

test("a store that accepts a second write to a key is detected, whatever it claims", async () => {
  const keys = { plain: "plain", once: "once" };
  assert.equal((await tryStore(new MemoryStore("careful"), keys)).state, "ok");
  // Like a folder without hard links: it refuses a second write, but not one at the same moment.
  const looking = Object.defineProperty(new MemoryStore("looking"), "conditionalWrites", { value: false });
  for (const store of [looking, new OverwritingStore("overwriting")]) {
    const { state, found, fix } = await tryStore(store, keys);
    assert.equal(state, "note", store.uri);
    assert.match(`${found} ${fix}`, /only if no worker continues after its lock has expired.*If-None-Match/);
  }
});

test("a folder is written to, read and listed; afterwards it is unchanged, or missing as before", async () => {
  await using folder = await temporaryFolder();
  const at = (...names: string[]) => join(folder.path, ...names);
  for (const name of ["there", "empty"]) await mkdir(at(name));
  await writeFile(at("there", "kept.txt"), "kept");
  const check = (out: string) => runCheck("store", () => checkStore(out, new S3()));
  for (const out of [at("there"), at("empty"), at("new"), at("above", "and", "below")]) {
    const { state, found } = await check(out);
    assert.equal(state, "ok", found);
  }
  assert.deepEqual((await readdir(folder.path, { recursive: true })).sort(), ["empty", "there", "there/kept.txt"]);

  const { state, found } = await check(at("there", "kept.txt", "below"));
  assert.equal(state, "wrong");
  assert.match(found, /^STORE_FAILED: .*kept\.txt/);
  assert.equal(await readFile(at("there", "kept.txt"), "utf8"), "kept");
});
