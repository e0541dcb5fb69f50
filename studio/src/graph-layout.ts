/** Where the nodes and arrows of a motion graph are drawn. */

export interface Node {
  id: string;
  x: number;
  y: number;
}

/** Down on the left and up again on the right, an odd one at the top: those that are related beside one another, and
 * the middle free for arrows.  `half`: of a node's sides. */
export function placed(ids: string[], edges: [string, string][], across: number, half: [number, number]): { nodes: Node[]; down: number } {
  const order = neighboursTogether(ids, edges);
  const odd = order.length % 2;
  const rows = odd + Math.floor(order.length / 2);
  const step = rows > 6 ? 60 : 92;
  const nodes = order.map((id, index): Node => {
    if (index < odd) return { id, x: across / 2, y: step / 2 };
    const isLeft = index < rows;
    const row = isLeft ? index : order.length - 1 - index + odd;
    return { id, x: isLeft ? half[0] : across - half[0], y: step * (row + 0.5) };
  });
  return { nodes, down: rows * step };
}

export function neighboursTogether(ids: string[], edges: [string, string][]): string[] {
  const order: string[] = [];
  const visit = (id: string): void => {
    if (order.includes(id)) return;
    order.push(id);
    for (const [a, b] of edges) if (a === id || b === id) visit(a === id ? b : a);
  };
  ids.forEach(visit);
  return order;
}

export interface Arrow {
  path: string;
  middle: [number, number];
}

/** From border to border, bent to one's right by `bend` of its length, so that an arrow and its opposite are two. */
export function arrow(from: Node, to: Node, half: [number, number], bend: number): Arrow {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const control: [number, number] = [(from.x + to.x) / 2 - bend * dy, (from.y + to.y) / 2 + bend * dx];
  const start = border(from, control, half, 2);
  const end = border(to, control, half, 7);
  const middle: [number, number] = [
    (start[0] + 2 * control[0] + end[0]) / 4,
    (start[1] + 2 * control[1] + end[1]) / 4,
  ];
  return { path: `M${start.join(",")} Q${control.join(",")} ${end.join(",")}`, middle };
}

/** Where the line from a node to a point leaves the node's box, and `gap` farther. */
function border(node: Node, to: [number, number], [w, h]: [number, number], gap: number): [number, number] {
  const [dx, dy] = [to[0] - node.x, to[1] - node.y];
  const length = Math.hypot(dx, dy) || 1;
  const scale = Math.min(w / Math.abs(dx || 1e-9), h / Math.abs(dy || 1e-9)) + gap / length;
  return [node.x + dx * scale, node.y + dy * scale];
}
