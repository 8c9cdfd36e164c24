import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Charsmap, differenceToNfkc } from "../../../../src/inference/model/tokenizer/charsmap.ts";

const NFKC = { Ａ: "A", ｚ: "z", ﬁ: "fi", "①": "1", ｱ: "ア" };

type Node = { children: Map<number, Node>; value?: number };

/** A table of SentencePiece, in base64. */
function tableOf(map: Record<string, string>): string {
  const root: Node = { children: new Map() };
  const texts: Buffer[] = [];
  let length = 0;
  for (const [from, to] of Object.entries(map)) {
    let node = root;
    for (const byte of Buffer.from(from)) {
      const next: Node = node.children.get(byte) ?? { children: new Map() };
      node.children.set(byte, next);
      node = next;
    }
    node.value = length;
    const text = Buffer.from(`${to}\0`);
    texts.push(text);
    length += text.length;
  }
  const units = [0];
  /** Finds room for the children of the node at `at`, whose unit has its label already. */
  const place = (node: Node, at: number): void => {
    const labels = [...(node.value === undefined ? [] : [0]), ...node.children.keys()];
    let base = 256;
    while (labels.some((label) => units[base ^ label] !== undefined)) base++;
    for (const label of labels) units[base ^ label] = label;
    units[at] = (units[at]! | ((at ^ base) << 10) | (node.value === undefined ? 0 : 256)) >>> 0;
    if (node.value !== undefined) units[base] = (node.value | 0x80000000) >>> 0;
    for (const [label, child] of node.children) place(child, base ^ label);
  };
  place(root, 0);
  const trie = Buffer.alloc(units.length * 4);
  for (let at = 0; at < units.length; at++) trie.writeUInt32LE(units[at] ?? 0, at * 4);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(trie.length);
  return Buffer.concat([size, trie, ...texts]).toString("base64");
}

describe("SentencePiece's tables", () => {
  test("are read", () => {
    const map = new Charsmap(tableOf({ ...NFKC, A: "a", "\u00a0": " ", é: "" }));
    assert.deepEqual(
      ["Ａ", "ﬁ", "A", "\u00a0", "é", "B", "e", "中"].map((character) => map.get(character)),
      ["A", "fi", "a", " ", "", undefined, undefined, undefined],
    );
  });

  test("are distinguished from tables that do more or less than NFKC", () => {
    assert.equal(differenceToNfkc(tableOf(NFKC)), undefined);
    assert.equal(differenceToNfkc(tableOf({ ...NFKC, A: "a" })), "A");
    assert.equal(differenceToNfkc(tableOf({ ...NFKC, É: "é" })), "É");
    assert.equal(differenceToNfkc(tableOf({ Ａ: "A" })), "ｚ");
  });

  test("that are damaged are refused or found to differ, without an endless loop", () => {
    for (const base64 of ["", "AAAA", "/////w=="])
      assert.throws(() => new Charsmap(base64), /a table of SentencePiece/);
    const whole = Buffer.from(tableOf(NFKC), "base64");
    for (let at = 4; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 255;
      differenceToNfkc(damaged.toString("base64"));
    }
  });
});
