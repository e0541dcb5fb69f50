/** Boxes as the API writes them: [x0, y0, x1, y1], fractions of the frame, origin top left. */

export type Box = [number, number, number, number];
export type Handle = "move" | "n" | "ne" | "e" | "se" | "s" | "sw" | "w" | "nw";

export const MINIMUM_SIDE = 0.01;

export const width = (box: Box): number => box[2] - box[0];
export const height = (box: Box): number => box[3] - box[1];
export const aspect = (box: Box): number => width(box) / height(box);
export const centre = (box: Box): [number, number] => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

export function around([x, y]: [number, number], across: number, down: number): Box {
  return [x - across / 2, y - down / 2, x + across / 2, y + down / 2];
}

/** The smallest box around some. */
export function hull(boxes: Box[]): Box {
  const of = (side: 0 | 1 | 2 | 3, most: (...values: number[]) => number) => most(...boxes.map((box) => box[side]));
  return [of(0, Math.min), of(1, Math.min), of(2, Math.max), of(3, Math.max)];
}

export function same(a: Box, b: Box): boolean {
  return a.every((side, index) => side === b[index]);
}

/** The nearest box inside the frame that is no thinner than `MINIMUM_SIDE`: moved where that is enough, else made
 * smaller in its own shape.  Rounded to five digits. */
export function inside(box: Box): Box {
  const shrink = Math.min(1, 1 / width(box), 1 / height(box));
  const across = Math.max(width(box) * shrink, MINIMUM_SIDE);
  const down = Math.max(height(box) * shrink, MINIMUM_SIDE);
  const [x, y] = centre(box);
  const [x0, y0] = [within(x - across / 2, 1 - across), within(y - down / 2, 1 - down)];
  return [rounded(x0), rounded(y0), rounded(x0 + across), rounded(y0 + down)];
}

const within = (value: number, most: number): number => Math.min(Math.max(value, 0), Math.max(most, 0));
const rounded = (value: number): number => Math.min(Math.round(value * 1e5) / 1e5, 1);

/** The box after one of its handles was dragged by (dx, dy).  `keepShape`: a corner changes both sides alike. */
export function dragged(box: Box, handle: Handle, dx: number, dy: number, keepShape: boolean): Box {
  if (handle === "move") return inside([box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]);
  let [x0, y0, x1, y1] = box;
  if (handle.includes("w")) x0 = Math.max(0, Math.min(x0 + dx, x1 - MINIMUM_SIDE));
  if (handle.includes("e")) x1 = Math.min(1, Math.max(x1 + dx, x0 + MINIMUM_SIDE));
  if (handle.includes("n")) y0 = Math.max(0, Math.min(y0 + dy, y1 - MINIMUM_SIDE));
  if (handle.includes("s")) y1 = Math.min(1, Math.max(y1 + dy, y0 + MINIMUM_SIDE));
  if (keepShape && handle.length === 2) {
    const [left, up] = [handle.includes("w"), handle.includes("n")];
    const room = Math.min((left ? box[2] : 1 - box[0]) / width(box), (up ? box[3] : 1 - box[1]) / height(box));
    const least = MINIMUM_SIDE / Math.min(width(box), height(box));
    const wished = Math.max((x1 - x0) / width(box), (y1 - y0) / height(box));
    const scale = Math.max(least, Math.min(room, wished));
    const [across, down] = [width(box) * scale, height(box) * scale];
    [x0, x1] = left ? [box[2] - across, box[2]] : [box[0], box[0] + across];
    [y0, y1] = up ? [box[3] - down, box[3]] : [box[1], box[1] + down];
  }
  return [rounded(x0), rounded(y0), rounded(x1), rounded(y1)];
}

/** Where `part` goes when its whole goes from `before` to `after`. */
export function carried(part: Box, before: Box, after: Box): Box {
  const across = width(after) / width(before);
  const down = height(after) / height(before);
  return inside([
    after[0] + (part[0] - before[0]) * across,
    after[1] + (part[1] - before[1]) * down,
    after[0] + (part[2] - before[0]) * across,
    after[1] + (part[3] - before[1]) * down,
  ]);
}

/** Intersection over union. */
export function iou(a: Box, b: Box): number {
  const across = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const down = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const both = across * down;
  return both / (width(a) * height(a) + width(b) * height(b) - both);
}
