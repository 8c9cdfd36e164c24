import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ObjectVersion } from "../../../../src/schemas/enrichment/object.ts";
import { type Sidecar, SidecarSchema } from "../../../../src/schemas/enrichment/sidecar.ts";
import { MemoryStore } from "../../../../src/storage/memory.ts";
import { Counts } from "../../../../src/workers/deliver/delivery-counts.ts";
import { compareSequencers, isNewer } from "../../../../src/workers/deliver/newer.ts";
import { placeOf } from "../../../../src/workers/deliver/object-place.ts";
import { writeSidecar } from "../../../../src/workers/deliver/sidecar.ts";
import { mergedTags, tagValue } from "../../../../src/workers/deliver/tags.ts";

const none = async () => undefined;

describe("the order of sequencers", () => {
  test("the shorter one is padded with zeros at its right; case does not matter", () => {
    const cases: [string, string, number][] = [
      ["0055AED6DCD90281E5", "0055AED6DCD90281E6", -1],
      ["0055AED6DCD90281E6", "0055aed6dcd90281e5", 1],
      ["0a", "0A00", 0],
      ["0A", "0A01", -1],
      // As a number the second would be greater.
      ["2", "10", 1],
      ["62E0B3F1", "62E0B3F1A", -1],
    ];
    for (const [left, right, expected] of cases) {
      assert.equal(compareSequencers(left, right), expected, `${left} ${right}`);
      assert.equal(compareSequencers(right, left), expected === 0 ? 0 : -expected, `${right} ${left}`);
    }
  });

  test("with one of them missing there is no order", () => {
    assert.equal(compareSequencers("0A", undefined), undefined);
    assert.equal(compareSequencers(undefined, "0A"), undefined);
  });
});

describe("which result is newer", () => {
  const EARLY = "2026-01-01T00:00:00.000Z";
  const LATE = "2026-01-02T00:00:00.000Z";
  const result = (object: ObjectVersion, labeledAt = LATE, run = "a".repeat(16)) => ({ object, labeledAt, run });
  const theirs = (object: ObjectVersion, labeledAt = EARLY) => result(object, labeledAt, "b".repeat(16));
  const newer = (ours: ObjectVersion, other: ObjectVersion, current?: ObjectVersion) =>
    isNewer(result(ours), theirs(other), async () => current);

  test("of two sequencers the greater one, whenever it was labeled", async () => {
    assert.equal(await newer({ sequencer: "0A" }, { sequencer: "0B" }), false);
    assert.equal(await isNewer(result({ sequencer: "0B" }, EARLY), theirs({ sequencer: "0A" }, LATE), none), true);
  });

  test("the result of the same run stays", async () => {
    assert.equal(await isNewer(result({}), result({}), none), false);
  });

  test("of one version the later label", async () => {
    const object = { versionId: "1", etag: "x" };
    assert.equal(await newer(object, object), true);
    assert.equal(await isNewer(result(object, EARLY), theirs(object, LATE), none), false);
    assert.equal(await isNewer(result({ sequencer: "0A" }, EARLY), theirs({ sequencer: "0a0" }, LATE), none), false);
  });

  test("without an order, the result of the version that the object has now", async () => {
    assert.equal(await newer({ etag: "1" }, { etag: "2" }, { etag: "1" }), true);
    assert.equal(await newer({ etag: "1" }, { etag: "2" }, { etag: "2" }), false);
    assert.equal(
      await newer({ versionId: "1", etag: "same" }, { versionId: "2", etag: "same" }, { versionId: "2" }),
      false,
    );
    // Ours names no version: theirs is known to be of the current one.
    assert.equal(await newer({}, { etag: "2" }, { etag: "2" }), false);
    assert.equal(await newer({}, { etag: "2" }, { etag: "3" }), true);
  });

  test("between two versions that the object has no longer, the result that exists stays", async () => {
    assert.equal(await newer({ etag: "1" }, { etag: "2" }, { etag: "3" }), false);
    assert.equal(await newer({ etag: "1" }, { etag: "2" }, undefined), false);
  });

  test("without versions, the later label", async () => {
    assert.equal(await newer({}, {}), true);
    assert.equal(await isNewer(result({}, EARLY), theirs({}, LATE), none), false);
  });
});

describe("a sidecar", () => {
  const sidecar = (sequencer: string): Sidecar => ({
    ...{ v: 1, id: "#0", label: "A", score: 1, labels: [{ label: "A", score: 1 }] },
    model: { id: "m", digest: "0".repeat(64) },
    object: { sequencer },
    run: sequencer.padStart(16, "0").toLowerCase(),
    labeledAt: new Date().toISOString(),
  });

  test("of fifty concurrent writers in any order, the newest result stays", async () => {
    const store = new MemoryStore(`sidecars-${process.pid}`);
    const order = Array.from({ length: 50 }, (_, i) => (i * 37) % 50);
    const outcomes = await Promise.all(
      order.map(async (i) => {
        // Writers that meet more than 20 others try again, as the job does.
        for (;;) {
          const at = { store, key: "x.labels.json" };
          const written = await writeSidecar(at, sidecar(i.toString(16).padStart(2, "0")), none).catch(() => undefined);
          if (written) return written;
        }
      }),
    );
    const found = SidecarSchema.parse(JSON.parse(Buffer.from(await store.get("x.labels.json")).toString()));
    assert.equal(found.object.sequencer, "31");
    assert.equal(outcomes[order.indexOf(49)], "written");
  });

  test("is beside its object, with any characters in its name", () => {
    assert.deepEqual(placeOf("s3://bucket/a/b%23c.png"), {
      s3: { bucket: "bucket", key: "a/b#c.png" },
      folder: "s3://bucket/a/",
      sidecar: "b#c.png.labels.json",
    });
    assert.deepEqual(placeOf("s3://bucket/x.png").folder, "s3://bucket/");
    assert.deepEqual(placeOf("file:///a%20b/c%23.png"), {
      s3: undefined,
      folder: "file:///a%20b/",
      sidecar: "c#.png.labels.json",
    });
    assert.throws(() => placeOf("s3://bucket/a/../b.png"), { code: "URL_REFUSED" });
  });
});

describe("tags", () => {
  test("characters that S3 refuses become _", () => {
    assert.equal(tagValue("Größe 1/2 @a+b=c:d-e_f."), "Größe 1/2 @a+b=c:d-e_f.");
    assert.equal(tagValue('a,b;"c"\n{d}\u0000<é\u0301>😀\ud800'), "a_b__c___d___é____");
    assert.equal(tagValue("x".repeat(300)).length, 256);
    assert.equal(tagValue(`${"x".repeat(255)}𝒜`), "x".repeat(255));
  });

  test("existing tags stay, ours replace ours, and what does not fit is left out", () => {
    const own = new Map(Array.from({ length: 9 }, (_, i) => [`t${i}`, ""]));
    const label = { label: "A", score: 0.98765 };
    const nine = mergedTags(own, label);
    assert.deepEqual([...nine.tags.keys()], [...own.keys(), "labelmill-label"]);
    assert.equal(nine.isFull, true);
    const ours = new Map([["labelmill-score", "1"], ["labelmill-label", "B"], ...[...own].slice(1)]);
    const replaced = mergedTags(ours, label);
    assert.equal(replaced.isFull, false);
    assert.equal(replaced.tags.get("labelmill-label"), "A");
    assert.equal(replaced.tags.get("labelmill-score"), "0.9877");
    assert.equal(replaced.tags.size, 10);
  });
});

test("the counts of deliveries are those of the registration, and omitted before the first one", () => {
  const counts = new Counts();
  assert.equal(counts.current, undefined);
  counts.add("sidecar", "written");
  counts.add("tags", "full");
  counts.refuse("tags", { uri: "s3://b/x", code: "NOT_GRANTED", message: "no" });
  const { lastRefused, ...rest } = counts.current!;
  assert.deepEqual(rest, {
    sidecars: { written: 1, superseded: 0, refused: 0 },
    tags: { written: 0, superseded: 0, refused: 1, full: 1 },
  });
  assert.equal(lastRefused!.code, "NOT_GRANTED");
});
