/** The motion graph: things in the colours of their labels, relations on arrows. */

import { arrow, placed } from "./graph-layout.ts";
import { LABELS, relationsOf } from "./plan-editing.ts";
import { plan, select, selection } from "./state.ts";
import { STATE_NAMES } from "./timeline.tsx";

const WIDTH = 420;
const HALF: [number, number] = [62, 19];

export function Graph() {
  const its = plan.value!;
  const things = its.graph.instances;
  const parts = things.filter((each) => each.parent).map((each) => ({ source: each.id, target: each.parent!, phrase: "part of" }));
  const edges = [...relationsOf(its), ...parts];
  const { nodes, down } = placed(things.map((each) => each.id), edges.map((each) => [each.source, each.target]), WIDTH, [HALF[0] + 4, HALF[1]]);
  const nodeOf = (id: string) => nodes.find((node) => node.id === id)!;
  return (
    <section class="panel graph" aria-label="Motion graph">
      <div class="legend">
        {LABELS.map((label) => (
          <span class={label}>
            <i class="dot" /> {STATE_NAMES[label]}
          </span>
        ))}
      </div>
      <svg viewBox={`0 0 ${WIDTH} ${down}`} role="img" aria-label={described(edges, its.prompt)}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0,0 L8,4 L0,8 z" />
          </marker>
        </defs>
        {edges.map((edge, index) => {
          const bent = edges.slice(0, index).filter((other) => [other.source, other.target].every((id) => id === edge.source || id === edge.target)).length;
          const line = arrow(nodeOf(edge.source), nodeOf(edge.target), HALF, 0.12 + 0.22 * bent);
          const phrase = edge.phrase.length > 24 ? `${edge.phrase.slice(0, 23)}…` : edge.phrase;
          return (
            <g class="relation">
              <path d={line.path} marker-end="url(#tip)" />
              <text x={line.middle[0]} y={line.middle[1] + 4}>
                {phrase}
              </text>
            </g>
          );
        })}
        {things.map((thing, index) => {
          const { x, y } = nodeOf(thing.id);
          const name = `${index + 1} ${thing.name}`;
          return (
            <g
              class={`node ${thing.label} ${selection.value.includes(thing.id) ? "selected" : ""}`}
              data-node={thing.id}
              onClick={(event) => select(thing.id, event.shiftKey)}
            >
              <rect x={x - HALF[0]} y={y - HALF[1]} width={2 * HALF[0]} height={2 * HALF[1]} rx={12} />
              <text x={x} y={y - 2}>
                {name.length > 18 ? `${name.slice(0, 17)}…` : name}
              </text>
              <text x={x} y={y + 12} class="label">
                {STATE_NAMES[thing.label]}
              </text>
            </g>
          );
        })}
      </svg>
      <p class="scene">{its.background}</p>
    </section>
  );
}

const described = (edges: { source: string; phrase: string; target: string }[], prompt: string): string =>
  `Motion graph of “${prompt}”: ${edges.map((edge) => `${edge.source} ${edge.phrase} ${edge.target}`).join("; ") || "no relations"}`;
