/** While a box is dragged its edges and its middle stick to those of others, and to the frame's. */

import { type Box, type Handle, centre } from "./boxes.ts";

export interface Guide {
  axis: "x" | "y";
  at: number;
}

export interface Snapped {
  box: Box;
  guides: Guide[];
}

const FRAME = [0, 1 / 3, 1 / 2, 2 / 3, 1];

/** `tolerance`: how near is near enough, fractions of width and height.  Moves the whole box, or the edges that the
 * handle holds. */
export function snap(box: Box, handle: Handle, others: Box[], tolerance: [number, number]): Snapped {
  const lines = (axis: 0 | 1) => [...FRAME, ...others.flatMap((other) => [other[axis], centre(other)[axis], other[axis + 2]!])];
  const result = [...box] as Box;
  const guides: Guide[] = [];
  for (const axis of [0, 1] as const) {
    const near = nearest(candidates(box, handle, axis), lines(axis), tolerance[axis]);
    if (near === null) continue;
    guides.push({ axis: axis === 0 ? "x" : "y", at: near.line });
    for (const side of held(handle, axis)) result[side] = box[side]! + near.line - near.value;
  }
  return { box: result, guides };
}

/** The sides of a box that a handle moves. */
function held(handle: Handle, axis: 0 | 1): (0 | 1 | 2 | 3)[] {
  if (handle === "move") return axis === 0 ? [0, 2] : [1, 3];
  const [low, high] = axis === 0 ? ["w", "e"] : ["n", "s"];
  if (handle.includes(low!)) return [axis];
  return handle.includes(high!) ? [axis === 0 ? 2 : 3] : [];
}

function candidates(box: Box, handle: Handle, axis: 0 | 1): number[] {
  const sides = held(handle, axis).map((side) => box[side]!);
  return handle === "move" ? [...sides, centre(box)[axis]] : sides;
}

function nearest(values: number[], lines: number[], tolerance: number): { value: number; line: number } | null {
  let best: { value: number; line: number } | null = null;
  let least = tolerance;
  for (const value of values)
    for (const line of lines)
      if (Math.abs(line - value) < least) {
        least = Math.abs(line - value);
        best = { value, line };
      }
  return best;
}
