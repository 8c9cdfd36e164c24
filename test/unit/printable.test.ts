import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { Terminal } from "../../src/cli/terminal/terminal.ts";
import { LabelmillError } from "../../src/errors.ts";
import { createLogger } from "../../src/logger.ts";
import { printable, printableJson, printableLines } from "../../src/printable.ts";
import { HOSTILE, hidden } from "../helpers/inputs/hostile-text.ts";

test("each hidden character is replaced, white space becomes spaces, and joiners of scripts and emoji remain", () => {
  assert.equal(printable("a\u001b[31mb\u009bc\u007fd\u0000e"), "a\uFFFD[31mb\uFFFDc\uFFFDd\uFFFDe");
  assert.equal(
    printable("a\u202eb\u2066c\u200fd\u061ce\ufefff\u200bg\u2028h"),
    "a\uFFFDb\uFFFDc\uFFFDd\uFFFDe\uFFFDf\uFFFDg\uFFFDh",
  );
  assert.equal(printable("a\tb\nc\r\nd"), "a b c  d");
  assert.equal(printable("half \ud800."), "half \uFFFD.");
  for (const fine of ["naïve – “x”", "مرحبا بالعالم", "می\u200cخواهم", "👩\u200d👩\u200d👧 🇨🇭", "日本語"])
    assert.equal(printable(fine), fine);
  assert.equal(printableLines("a\u001bb\r\nc\u0007\nd"), "a\uFFFDb\nc\uFFFD\nd");
  assert.deepEqual(hidden(printable(HOSTILE)), []);
});

test("hidden characters in JSON are escaped, and the value is unchanged", () => {
  const value = { [HOSTILE]: [HOSTILE, "\u{e0041}", "\u007f\u0085"] };
  const json = printableJson(JSON.stringify(value));
  assert.deepEqual(hidden(json), []);
  assert.deepEqual(JSON.parse(json), value);
});

test("a LabelmillError has no hidden characters in its message", () => {
  const { message } = new LabelmillError("STORE_FAILED", `S3 said ${HOSTILE}\nand more`);
  assert.deepEqual(hidden(message.replace("\n", "")), []);
  assert.ok(message.endsWith("\nand more"), "line breaks remain");
});

function terminal(json = false) {
  const out = Object.assign(new PassThrough().setEncoding("utf8"), { isTTY: true, columns: 400 });
  return { terminal: new Terminal(json, out as never, out as never), written: () => String(out.read()) };
}

test("a terminal gets the styles of labelmill, but none from data", () => {
  const { terminal: to, written } = terminal();
  to.print(`${to.style("red", `bad ${HOSTILE}`)} ${HOSTILE}`);
  const line = written();
  assert.ok(line.startsWith("\u001b[31mbad ") && line.includes("\u001b[39m"), "red");
  assert.deepEqual(hidden(line.replace("\u001b[31m", "").replace("\u001b[39m", "").trimEnd()), []);
});

test("lines, blocks of lines, the progress bar and JSON reach a terminal without hidden characters", () => {
  const { terminal: to, written } = terminal();
  to.say(HOSTILE);
  assert.deepEqual(hidden(written().trimEnd()), []);
  to.sayLines(`${HOSTILE}\nlabelmill: forged`);
  assert.match(written(), /^[^\n]*\n {2}labelmill: forged\n$/);
  to.progress(HOSTILE);
  const bar = written();
  assert.ok(bar.startsWith("\r") && bar.endsWith("\u001b[K"));
  assert.deepEqual(hidden(bar.slice(1, -3)), []);
  const json = terminal(true);
  json.terminal.printJson({ a: HOSTILE });
  const value = json.written();
  assert.deepEqual([hidden(value.trimEnd()), JSON.parse(value)], [[], { a: HOSTILE }]);
});

test("the log has no hidden characters as JSON either", async () => {
  const lines = new PassThrough();
  createLogger("info", false, lines).warn({ name: HOSTILE, err: new Error(HOSTILE) }, `lost ${HOSTILE}`);
  lines.end();
  const line = await text(lines);
  assert.deepEqual(hidden(line.trimEnd()), []);
  const { name, err, msg } = JSON.parse(line);
  assert.deepEqual([name, err.message, msg], [HOSTILE, HOSTILE, `lost ${HOSTILE}`]);
});
