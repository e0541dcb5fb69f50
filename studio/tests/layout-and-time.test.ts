import assert from "node:assert/strict";
import { test } from "node:test";
import { arrow, neighboursTogether, placed } from "../src/graph-layout.ts";
import { frameAt, timeOf } from "../src/playback.ts";

test("a frame's time leads back to the frame", () => {
  for (const fps of [8, 16, 24, 30]) for (let frame = 0; frame < 121; frame++) assert.equal(frameAt(timeOf(frame, fps), fps, 121), frame);
  assert.equal(frameAt(0.124999, 8, 9), 1); // a time stamp's rounding
  assert.equal(frameAt(99, 8, 9), 8);
});

test("nodes stay inside their area and off each other, the related beside one another", () => {
  assert.deepEqual(neighboursTogether(["a", "b", "c"], [["a", "c"]]), ["a", "c", "b"]);
  for (let count = 1; count <= 32; count++) {
    const { nodes, down } = placed(Array.from({ length: count }, (_, at) => `n${at}`), [], 420, [66, 19]);
    nodes.forEach(({ x, y }, index) => {
      assert.ok(x >= 66 && x <= 354 && y >= 19 && y <= down - 19, `${x}, ${y}`);
      for (const other of nodes.slice(0, index)) assert.ok(Math.abs(x - other.x) > 124 || Math.abs(y - other.y) > 50);
    });
  }
});

test("an arrow and its opposite are two", () => {
  const [a, b] = [{ id: "a", x: 0, y: 0 }, { id: "b", x: 200, y: 0 }];
  assert.deepEqual(arrow(a, b, [50, 20], 0.1).middle.map(Math.round), [99, 15]);
  assert.ok(arrow(b, a, [50, 20], 0.1).middle[1] < 0);
});
