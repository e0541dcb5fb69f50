import assert from "node:assert/strict";
import { test } from "node:test";
import { arrow, neighboursTogether, placed } from "../src/graph-layout.ts";
import { frameAt, timeOf } from "../src/playback.ts";

test("a frame's time leads back to the frame", () => {
  for (const fps of [8, 16, 24, 30]) for (let frame = 0; frame < 121; frame++) assert.equal(frameAt(timeOf(frame, fps), fps, 121), frame);
  assert.equal(frameAt(0.124999, 8, 9), 1); // a time stamp's rounding
  assert.equal(frameAt(99, 8, 9), 8);
});

test("nodes stay inside their area, the related beside one another", () => {
  assert.deepEqual(neighboursTogether(["a", "b", "c"], [["a", "c"]]), ["a", "c", "b"]);
  for (let count = 1; count <= 32; count++)
    for (const { x, y } of placed(Array.from({ length: count }, (_, at) => `n${at}`), [], 420, 300, [66, 27])) {
      assert.ok(x >= 66 - 1e-9 && x <= 354 + 1e-9, `${x}`);
      assert.ok(y >= 27 - 1e-9 && y <= 273 + 1e-9, `${y}`);
    }
});

test("an arrow and its opposite are two", () => {
  const [a, b] = [{ id: "a", x: 0, y: 0 }, { id: "b", x: 200, y: 0 }];
  assert.deepEqual(arrow(a, b, [50, 20], 0.1).middle.map(Math.round), [99, 15]);
  assert.ok(arrow(b, a, [50, 20], 0.1).middle[1] < 0);
});
