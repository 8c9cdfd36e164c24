import assert from "node:assert/strict";
import { test } from "node:test";
import { dataFileName, isDataFileKey, partKey } from "../../../src/schemas/names.ts";
import { COMPRESSIONS, FILE_EXTENSIONS, fileExtension, OUTPUT_FORMATS } from "../../../src/schemas/output.ts";

const RUN = "0123456789abcdef";

test("the file name of each format and compression is recognized, in any folder, and no other name", () => {
  for (const format of OUTPUT_FORMATS)
    for (const compression of COMPRESSIONS) {
      const extension = fileExtension({ format, compression });
      assert.ok(FILE_EXTENSIONS.includes(extension), extension);
      const name = dataFileName(RUN, 0, 12, extension);
      for (const folder of ["", "label=A/", "_errors/"]) assert.ok(isDataFileKey(folder + name), folder + name);
    }
  for (const other of ["data-0000000-0000012-01234567.txt", "my-data-0000000-0000012-01234567.jsonl", partKey(RUN, 0)])
    assert.ok(!isDataFileKey(other), other);
});
