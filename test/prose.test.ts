import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { readMarkdown } from "./helpers/markdown.ts";
import {
  brokenLinks,
  lineWidths,
  matcher,
  nameWords,
  pageForms,
  proseViolations,
  unknownPaths,
  words,
} from "./helpers/rules/prose-rules.ts";
import { codeTexts } from "./helpers/rules/prose-texts.ts";
import { WORDS } from "./helpers/rules/prose-words.ts";
import { trackedFiles } from "./helpers/rules/tracked-files.ts";

const violations = proseViolations(trackedFiles(join(import.meta.dirname, "..")));

test("prose is plain English, has the agreed form, and its links work", () => {
  assert.deepEqual(violations, [], `\n${violations.join("\n")}`);
});

/** Checks the number and the order of the violations. */
function assertFound(found: string[], expected: RegExp[]) {
  assert.equal(found.length, expected.length, found.join("\n"));
  for (const [i, pattern] of expected.entries()) assert.match(found[i]!, pattern);
}

function pages(files: Record<string, string>) {
  return Object.entries(files).map(([path, text]) => readMarkdown({ path, text }));
}

test("words: comments, strings and test names of code are checked", () => {
  const text = [
    `/** Whoever reads this. */`,
    `// One line, and the worker is under`,
    `// way on the next one. \`mend\` in backticks is code.`,
    `const url = "http://host//path", fix = "mend", lines = "one\\nmend it", pattern = /mend it/; // the mend`,
    `const message = \`\${count === 1 ? "a part" : "the parts"} that`,
    `  stand in the store, and \${count} more: told\`;`,
    `test("nobody waits", () => {});`,
  ].join("\n");
  const { texts } = codeTexts([{ path: "src/a.ts", text }]);
  assertFound(words(texts.toSorted((a, b) => a.line - b.line)), [
    /^src\/a\.ts:1: "Whoever": write the actor/,
    /^src\/a\.ts:2: "under way": write running/,
    /^src\/a\.ts:4: "mend": write fix/,
    /^src\/a\.ts:4: "mend": write fix/,
    /^src\/a\.ts:5: "that stand": write/,
    /^src\/a\.ts:6: "told": write/,
    /^src\/a\.ts:7: "nobody": write/,
  ]);
});

test("words: Markdown and comments of other files are checked, strings of tests are not", () => {
  const files = {
    "docs/a.md":
      "# Title\n\nA part\nthat stands. `told`\n\n```sh\nnobody\n```\n\n- gone for good [for good](for-good.md)",
    "infra/a.conf": "# Nothing is\n# under way here.\nsave 60 1",
    "test/unit/a.test.ts": `const data = "nobody is told"; test("this is told", () => {});`,
    "test/helpers/a.ts": `throw new Error("the server is gone");`,
  };
  const found = proseViolations(Object.entries(files).map(([path, text]) => ({ path, text })));
  assertFound(
    found.filter((violation) => violation.includes(": write ")),
    [
      /^test\/unit\/a\.test\.ts:1: "told"/,
      /^test\/helpers\/a\.ts:1: "is gone"/,
      /^docs\/a\.md:4: "stands"/,
      /^docs\/a\.md:10: "for good"/,
      /^docs\/a\.md:10: "for good"/,
      /^infra\/a\.conf:2: "under way"/,
    ],
  );
});

test("words: ordinary technical English has no violations", () => {
  const plain = [
    "There is a good reason for it: for good reason, some 10ths of a second, whatever the order.",
    "It stands for the whole run; a stand-alone server; the command understands both.",
    "It is no longer used. The device is out of memory. The value is out of range.",
    "The worker came from the pool. It recommends a fix, and amends the commit.",
    "if value is None:\n    call()",
    "The file of the model, the rest of it and the end of the file.",
  ];
  assert.deepEqual(words(plain.map((text, i) => ({ path: "a.md", line: i + 1, text, kind: "prose" }))), []);
});

/** A text for each pattern of the table, in the order of the table. */
const SAMPLES = [
  "the fix is mended",
  "Whoever's turn it is",
  "nobody",
  "Somebody's",
  "it is told",
  "it tells",
  "was said",
  "says of it",
  "is asked for",
  "heard of",
  "was heard",
  "looked after",
  "lets go of",
  "are let",
  "holds that",
  "kept to",
  "put together",
  "bears it out",
  "takes it up again",
  "goes round",
  "broke off",
  "is under way",
  "at work",
  "is gone",
  "the store is out.",
  "out of reach",
  "it stands there",
  "parts stand",
  "is through with",
  "at hand",
  "the item is well",
  "what came",
  "expected 1, came 2",
  "there is none",
  "none of it",
  "cannot be had",
  "to be had",
  "what is no image",
  "the signal; none: it never stops",
  "there is no such",
  "for good.",
  "for ever",
  "without a word",
  "anew",
  "once more",
  "again and again",
  "in truth",
  "but for",
  "3 in all",
  "some 200",
  "so many",
  "of whatever",
  "here and now",
  "a folder of its own",
  "thereof",
  "lest",
  "Done. Of the files, the first",
];

test("words: each pattern of the table finds its sample", () => {
  assert.equal(SAMPLES.length, WORDS.length);
  for (const [i, entry] of WORDS.entries()) {
    const texts = [{ path: "a.md", line: 1, text: SAMPLES[i]!, kind: "prose" as const }];
    assert.equal(words(texts, matcher([entry])).length, 1, `${entry.pattern} does not find "${SAMPLES[i]}"`);
  }
});

test("names: declarations and files are checked", () => {
  const text = `
    import { tellAll } from "elsewhere";
    function tellUser({ mend, old: whoeverAsks }: { mendIt: string }, world: unknown) { return { told: world }; }
    const SOON_MS = 1; const intelligent = 2, recommended = 3, untold = 4;
    type LabelWorld = { nobody?: string };`;
  const { names } = codeTexts([{ path: "src/a.ts", text }]);
  assertFound(nameWords(names, [{ path: "src/tell-work.ts" }, { path: "src/intel.ts" }]), [
    /^src\/a\.ts:3: the name "tellUser": use report/,
    /^src\/a\.ts:3: the name "mend": use fix/,
    /^src\/a\.ts:3: the name "whoeverAsks": name the actor/,
    /^src\/a\.ts:3: the name "mendIt"/,
    /^src\/a\.ts:3: the name "world": use deps/,
    /^src\/a\.ts:4: the name "SOON_MS": say/,
    /^src\/a\.ts:5: the name "LabelWorld"/,
    /^src\/a\.ts:5: the name "nobody"/,
    /^src\/tell-work\.ts: the name/,
  ]);
});

test("Markdown: lines of prose have at most 100 columns", () => {
  const long = "word ".repeat(21).trim();
  const text = [
    long,
    `# ${long}`,
    `| ${long} |`,
    `<!-- ${long} -->`,
    "```",
    long,
    "```",
    `- ${"x".repeat(101)}`,
    `  \`${long}\``,
    `- see ${"x".repeat(101)}`,
    long.slice(0, 100),
  ].join("\n");
  assertFound(lineWidths(pages({ "a.md": text })), [/^a\.md:1: 104 columns, at most 100/, /^a\.md:10: 107 columns/]);
});

test("Markdown: the README is short, the glossary has its terms, the index links every page", () => {
  const glossary = (terms: number) =>
    `# Words\n\n| term | meaning |\n|---|---|\n${"| item | one text |\n".repeat(terms)}`;
  const index = "[words](glossary.md) [a](./a.md#part)";
  const good = { "README.md": "\n".repeat(130), "docs/README.md": index, "docs/a.md": "", "examples/README.md": "" };
  assert.deepEqual(pageForms(pages({ ...good, "docs/glossary.md": glossary(20) })), []);
  assert.deepEqual(pageForms(pages({ ...good, "docs/glossary.md": glossary(30) })), []);
  assertFound(pageForms(pages({ "README.md": "\n".repeat(131), "docs/a.md": "" })), [
    /^README\.md: 131 lines, at most 130/,
    /^docs\/glossary\.md: expected this page/,
    /^docs\/README\.md: expected this page/,
  ]);
  assertFound(pageForms(pages({ ...good, "docs/b.md": "", "docs/glossary.md": glossary(19) })), [
    /^docs\/glossary\.md: expected 20 to 30 terms.* got 19/,
    /^docs\/README\.md: no link to docs\/b\.md/,
  ]);
  assertFound(pageForms(pages({ ...good, "docs/glossary.md": glossary(31) })), [/got 31/]);
});

test("Markdown: the targets of relative links exist", () => {
  const files = {
    "README.md": [
      "[a](docs/a.md) [b](docs/a.md#two-words) [c](docs/) [d](https://example.org/x#y) [e](#top) `[f](none.md)`",
      "# Top",
      "[g](docs/b.md) [h](docs/a.md#three) [i](#end)",
      '[j](docs/a.md#two-words-1), [k](docs/a.md "title"), <img alt="l" src="l.png">',
      "",
      "[m]: docs/m.md",
    ].join("\n"),
    "docs/a.md": "# `Two` words!\n\n## Two words\n\n```\n# three\n```\n[up](../README.md#top) [out](../../x.md)",
  };
  const all = pages(files);
  assertFound(brokenLinks(all, all), [
    /^README\.md:3: the link docs\/b\.md: the file does not exist/,
    /^README\.md:3: the link docs\/a\.md#three: docs\/a\.md has no such heading/,
    /^README\.md:3: the link #end/,
    /^README\.md:4: the link l\.png/,
    /^README\.md:6: the link docs\/m\.md/,
    /^docs\/a\.md:8: the link \.\.\/\.\.\/x\.md/,
  ]);
});

test("Markdown: paths of the source tree exist", () => {
  const text = [
    "`src/a/b.ts`, `src/a/`, `test/a` and `src/c.ts`",
    "`test/*.test.ts`, `node src/none.ts`, src/none.ts, `bench/d.ts`",
    "```",
    "`src/none.ts`",
    "```",
    "| `src/a/none.ts` | `scripts/` |",
  ].join("\n");
  const files = ["src/a/b.ts", "test/a/c.test.ts", "docs/a.md"].map((path) => ({ path }));
  assertFound(unknownPaths(pages({ "docs/a.md": text, "CHANGELOG.md": text }), files), [
    /^docs\/a\.md:1: src\/c\.ts does not exist/,
    /^docs\/a\.md:2: bench\/d\.ts/,
    /^docs\/a\.md:6: src\/a\/none\.ts/,
    /^docs\/a\.md:6: scripts\//,
  ]);
});
