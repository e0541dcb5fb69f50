import assert from "node:assert/strict";
import { test } from "node:test";
import type { Box } from "../src/boxes.ts";
import { snap } from "../src/snapping.ts";

const NEAR: [number, number] = [0.02, 0.02];
const rounded = (box: Box) => box.map((side) => Math.round(side * 1e6) / 1e6);

test("an edge sticks to the nearest edge of another thing", () => {
  const { box, guides } = snap([0.405, 0.2, 0.65, 0.41], "move", [[0.1, 0.7, 0.4, 0.9]], NEAR);
  assert.deepEqual(rounded(box), [0.4, 0.2, 0.645, 0.41]);
  assert.deepEqual(guides, [{ axis: "x", at: 0.4 }]);
});

test("a middle sticks to the frame's", () => {
  const { box } = snap([0.41, 0.1, 0.61, 0.2], "move", [], NEAR);
  assert.deepEqual(rounded(box), [0.4, 0.1, 0.6, 0.2]);
});

test("only the edges that are held move", () => {
  const { box } = snap([0.41, 0.1, 0.49, 0.21], "e", [], NEAR);
  assert.deepEqual(rounded(box), [0.41, 0.1, 0.5, 0.21]);
});

test("what is too far away does not stick", () => {
  const far: Box = [0.43, 0.05, 0.62, 0.22];
  assert.deepEqual(snap(far, "move", [[0.1, 0.7, 0.4, 0.9]], NEAR), { box: far, guides: [] });
});
