import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_RECORD_BYTES } from "../../../../src/sources/source.ts";
import { type CsvRecord, CsvScanner } from "../../../../src/sources/text/csv-scanner.ts";
import { LineScanner } from "../../../../src/sources/text/line-scanner.ts";

type Scanner<R> = { push(chunk: Uint8Array): Iterable<R>; end(): Iterable<R> };

/** All records of a scanner. The bytes are appended in chunks of `sizes`, which repeat. */
function scan<R>(scanner: Scanner<R>, bytes: Buffer, sizes: number[] = [bytes.length || 1]): R[] {
  const found: R[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    found.push(...scanner.push(bytes.subarray(at, at + size)));
    at += size;
  }
  found.push(...scanner.end());
  return found;
}

/** Records as `[line, ...fields]`, errors as `[line, code]` with a mark. */
function short(records: CsvRecord[]): unknown[] {
  return records.map((record) =>
    "error" in record ? { line: record.line, code: record.error.code } : [record.line, ...record.fields],
  );
}

const cases: { name: string; csv: string; delimiter?: string; is: unknown[] }[] = [
  {
    name: "LF, no last line break",
    csv: "a,b\n1,2",
    is: [
      [1, "a", "b"],
      [2, "1", "2"],
    ],
  },
  {
    name: "CRLF",
    csv: "a,b\r\n1,2\r\n",
    is: [
      [1, "a", "b"],
      [2, "1", "2"],
    ],
  },
  {
    name: "CR only",
    csv: "a,b\r1,2\r3,4",
    is: [
      [1, "a", "b"],
      [2, "1", "2"],
      [3, "3", "4"],
    ],
  },
  { name: "nothing", csv: "", is: [] },
  { name: "blank lines only", csv: "\n\r\n\r\r\n", is: [] },
  {
    name: "blank lines between, counted",
    csv: "\na\n\n\r\n1\n\n2\n\n",
    is: [
      [2, "a"],
      [5, "1"],
      [7, "2"],
    ],
  },
  {
    name: "an empty quoted field is a record",
    csv: 'a\n""\n',
    is: [
      [1, "a"],
      [2, ""],
    ],
  },
  {
    name: "empty fields",
    csv: ",\n,,",
    is: [
      [1, "", ""],
      [2, "", "", ""],
    ],
  },
  {
    name: "quoted line breaks of all kinds",
    csv: 'a\n"1\n2\r\n3\r4"\nx',
    is: [
      [1, "a"],
      [2, "1\n2\r\n3\r4"],
      [6, "x"],
    ],
  },
  { name: "quoted quotes and delimiters", csv: '"a,b","c""d",""""', is: [[1, "a,b", 'c"d', '"']] },
  {
    name: "a quote within a field is data",
    csv: '5" screen,a"b"\n x "y"',
    is: [
      [1, '5" screen', 'a"b"'],
      [2, ' x "y"'],
    ],
  },
  { name: "a space before a quote makes it data", csv: ' "a",b', is: [[1, ' "a"', "b"]] },
  {
    name: "another delimiter",
    csv: 'a;b,c\n"1;2";3',
    delimiter: ";",
    is: [
      [1, "a", "b,c"],
      [2, "1;2", "3"],
    ],
  },
  {
    name: "multi-byte",
    csv: "é,日本\n🦊,\u{1F469}\u200D\u{1F680}",
    is: [
      [1, "é", "日本"],
      [2, "🦊", "\u{1F469}\u200D\u{1F680}"],
    ],
  },
  {
    name: "text after a closing quote costs its line",
    csv: 'a,b\n1,"x"y\n2,z\n',
    is: [[1, "a", "b"], { line: 2, code: "RECORD_INVALID" }, [3, "2", "z"]],
  },
  {
    name: "a quote that the next quoted field seems to close costs its own line only",
    csv: 'a,b\r\n1,"x\r\n2,p\r\n3,"y"\r\n4,z\r\n',
    is: [[1, "a", "b"], { line: 2, code: "RECORD_INVALID" }, [3, "2", "p"], [4, "3", "y"], [5, "4", "z"]],
  },
  {
    name: "a quote that is never closed costs its own line only",
    csv: 'a,b\n1,"x\n2,y\n3,z',
    is: [[1, "a", "b"], { line: 2, code: "RECORD_INVALID" }, [3, "2", "y"], [4, "3", "z"]],
  },
  {
    name: "a quote that is never closed on the last line",
    csv: 'a\n1\n"x',
    is: [[1, "a"], [2, "1"], { line: 3, code: "RECORD_INVALID" }],
  },
];

for (const { name, csv, delimiter, is } of cases) {
  test(`CSV: ${name}`, () => {
    for (const size of [1, 2, 3, 7, 1000]) {
      assert.deepEqual(
        short(scan(new CsvScanner(delimiter ?? ","), Buffer.from(csv), [size])),
        is,
        `chunks of ${size}`,
      );
    }
  });
}

test("any table in RFC 4180 is read back unchanged, in chunks of any size", () => {
  const piece = fc.constantFrom(
    '"',
    '""',
    ",",
    ";",
    "\t",
    "|",
    "\n",
    "\r\n",
    "\r",
    " ",
    '5" screen',
    "é",
    "日本",
    "🦊",
    "\u0000",
    "\uFEFF",
    "x",
  );
  const field = fc.oneof(
    fc.array(piece, { maxLength: 8 }).map((parts) => parts.join("")),
    fc.string({ unit: "grapheme" }),
  );
  const table = fc
    .integer({ min: 1, max: 5 })
    .chain((width) =>
      fc.array(fc.array(field, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 12 }),
    );
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });
  fc.assert(
    fc.property(
      table,
      sizes,
      fc.constantFrom(",", ";", "\t", "|"),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.boolean(),
      (rows, cuts, delimiter, eol, last) => {
        const must = (text: string): boolean => text.startsWith('"') || /[\r\n]/.test(text) || text.includes(delimiter);
        const write = (text: string, alone: boolean): string =>
          must(text) || (alone && text === "") ? `"${text.replaceAll('"', '""')}"` : text;
        const csv =
          rows.map((row) => row.map((text) => write(text, row.length === 1)).join(delimiter)).join(eol) +
          (last ? eol : "");
        const found = scan(new CsvScanner(delimiter), Buffer.from(csv), cuts);
        assert.deepEqual(
          found.map((record) => ("fields" in record ? record.fields : record.error)),
          rows.map((row) => row.map((text) => text.toWellFormed())),
        );
        const lines = csv.split(/\r\n|\r|\n/).length;
        assert.ok(found.every(({ line }) => line >= 1 && line <= lines));
      },
    ),
    { numRuns: 500 },
  );
});

test("the records of any bytes do not depend on the chunks", () => {
  const bytes = fc.array(fc.constantFrom('"', '"', ",", "\n", "\r", "a", "\xff"), { maxLength: 200 });
  fc.assert(
    fc.property(bytes, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), (parts, cuts) => {
      const input = Buffer.from(parts.join(""), "latin1");
      assert.deepEqual(scan(new CsvScanner(","), input, cuts), scan(new CsvScanner(","), input));
      assert.deepEqual(scan(new LineScanner(), input, cuts), scan(new LineScanner(), input));
    }),
    { numRuns: 1000 },
  );
});

test("only the picked columns are decoded, in the given order", () => {
  const scanner = new CsvScanner(",");
  scanner.pick = [2, 0];
  assert.deepEqual(scan(scanner, Buffer.from("1,2,3\n4,5\n")), [
    { line: 1, fields: ["3", "1"], count: 3, repaired: false },
    { line: 2, fields: ["", "4"], count: 2, repaired: false },
  ]);
});

test("bytes that are not UTF-8 are replaced, and only their records are marked", () => {
  const bad = Buffer.from("bad\xff\xc3,x\n", "latin1");
  const bytes = Buffer.concat([Buffer.from("ok,é\n"), bad, Buffer.from("fine \uFFFD,y\n")]);
  for (const size of [1, 3, 100]) {
    const found = scan(new CsvScanner(","), bytes, [size]);
    assert.deepEqual(
      found.map((record) => "fields" in record && [record.fields[0], record.repaired]),
      [
        ["ok", false],
        ["bad\uFFFD\uFFFD", true],
        ["fine \uFFFD", false],
      ],
    );
  }
});

test("a record over the limit becomes one error, and the next line is read", () => {
  const long = "x".repeat(MAX_RECORD_BYTES);
  const plain = short(scan(new CsvScanner(","), Buffer.from(`a\n1${long}\n2\n`), [65_536]));
  assert.deepEqual(plain, [[1, "a"], { line: 2, code: "RECORD_TOO_LARGE" }, [3, "2"]]);
  const quoted = short(scan(new CsvScanner(","), Buffer.from(`a\n"${long}\n2"\n3\n`), [65_536]));
  assert.deepEqual(quoted.slice(0, 4), [[1, "a"], { line: 2, code: "RECORD_TOO_LARGE" }, [3, '2"'], [4, "3"]]);
  const lines = scan(new LineScanner(), Buffer.from(`1\n${long}${long}\n3\n`), [65_536]);
  assert.deepEqual(
    lines.map((line) => [line.line, "error" in line ? line.error.code : line.text]),
    [
      [1, "1"],
      [2, "RECORD_TOO_LARGE"],
      [3, "3"],
    ],
  );
});

test("an unclosed quote in 200 MB costs one line and no memory", () => {
  const scanner = new CsvScanner(",");
  const chunk = Buffer.from(`7,${"a line without any quotes in it ".repeat(20)}\n`.repeat(150));
  const before = process.memoryUsage().rss;
  let highest = 0;
  let records = 0;
  const errors: CsvRecord[] = [];
  const take = (found: Iterable<CsvRecord>): void => {
    for (const record of found) {
      if ("error" in record) errors.push(record);
      else records++;
    }
    highest = Math.max(highest, process.memoryUsage.rss());
  };
  take(scanner.push(Buffer.from('a,b\n1,"open\n')));
  const chunks = Math.ceil(200_000_000 / chunk.length);
  for (let turn = 0; turn < chunks; turn++) take(scanner.push(chunk));
  take(scanner.end());
  assert.deepEqual(
    errors.map(({ line }) => line),
    [2],
  );
  assert.equal(records, 1 + chunks * 150);
  assert.ok(highest - before < 100_000_000, `grew by ${(highest - before) / 1e6} MB`);
});

test("200 MB in one line, quoted or not, take no memory", () => {
  for (const scanner of [new CsvScanner(","), new LineScanner()] as Scanner<{ line: number }>[]) {
    const before = process.memoryUsage().rss;
    let found = [...scanner.push(Buffer.from('"open'))].length;
    const chunk = Buffer.alloc(1_000_000, "x");
    for (let turn = 0; turn < 200; turn++) found += [...scanner.push(chunk)].length;
    assert.deepEqual(
      [...scanner.push(Buffer.from("\nnext\n"))].map(({ line }) => line),
      [2],
    );
    assert.equal(found, 1);
    assert.ok(process.memoryUsage().rss - before < 100_000_000);
  }
});

test("lines that each open another quote take linear time", () => {
  // Each line alone opens a quote and does not close it. Within an open quote, it closes that quote and opens another.
  const input = Buffer.from('5",5,"b\n'.repeat(1_000_000));
  const begun = performance.now();
  const found = scan(new CsvScanner(","), input, [65_536]);
  assert.ok(performance.now() - begun < 20_000);
  assert.ok(found.some((record) => "error" in record && /lines \d+ to \d+ are left out$/.test(record.error.message)));
  const lines = found.map(({ line }) => line);
  assert.ok(lines.every((line, index) => index === 0 || line > lines[index - 1]!));
});
