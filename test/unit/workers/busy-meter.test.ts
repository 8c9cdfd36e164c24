import assert from "node:assert/strict";
import { test } from "node:test";
import { BusyMeter } from "../../../src/workers/registration/busy-meter.ts";

test("busy is the time in which the model ran ÷ (threads × time), since the start and in the last minute", () => {
  const meter = new BusyMeter(1000);
  assert.deepEqual(meter.read(1000, 0, 2), { sinceStart: null, lastMinute: null });
  assert.deepEqual(meter.read(11_000, 10_000, 2), { sinceStart: 0.5, lastMinute: 0.5 });
  // One thread from here on, always busy.
  let busy = { sinceStart: null as number | null, lastMinute: null as number | null };
  for (let at = 21_000; at <= 71_000; at += 10_000) busy = meter.read(at, at - 1000, 1);
  assert.deepEqual(busy, { sinceStart: 70 / 80, lastMinute: 1 });
  // Then idle.
  for (let at = 81_000; at <= 101_000; at += 10_000) busy = meter.read(at, 70_000, 1);
  assert.deepEqual(busy, { sinceStart: 70 / 110, lastMinute: 0.5 });
});

test("busy is at most 1, even if a batch began before the last minute", () => {
  const meter = new BusyMeter(0);
  meter.read(60_000, 0, 1);
  assert.deepEqual(meter.read(120_000, 90_000, 1), { sinceStart: 0.75, lastMinute: 1 });
});
