/** What can be done without a pointer. */

import { tinykeys } from "tinykeys";
import { type Box, dragged } from "./boxes.ts";
import { add } from "./inspector.tsx";
import { moveInDepth, phaseAt, removeThing, setBox, toggleKeyframe, trackOf } from "./plan-editing.ts";
import { change, frame, frames, plan, playing, redo, selected, undo } from "./state.ts";

const STEP = 0.01;

export function listenToKeys(): void {
  const when = (action: (event: KeyboardEvent) => void) => (event: KeyboardEvent) => {
    const element = event.target as HTMLElement;
    if (plan.value === null || element.closest("input, textarea, select, [contenteditable]") !== null) return;
    if (event.key === " " && element.closest("button, summary, a") !== null) return;
    event.preventDefault();
    action(event);
  };
  const ofSelected = (action: (id: string) => void) =>
    when(() => {
      if (selected.value !== null) action(selected.value);
    });
  const step = (by: number) =>
    when(() => {
      playing.value = false;
      frame.value = Math.max(0, Math.min(frame.value + by, frames.value - 1));
    });
  const arrows = Object.fromEntries(
    (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] as const).flatMap((key) => {
      const along = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
      const sideways = key === "ArrowLeft" || key === "ArrowRight";
      const [dx, dy] = sideways ? [along, 0] : [0, along];
      return [
        [key, ofSelected((id) => nudge(id, "move", dx * STEP, dy * STEP))],
        [`Shift+${key}`, ofSelected((id) => nudge(id, "move", 5 * dx * STEP, 5 * dy * STEP))],
        [`Alt+${key}`, ofSelected((id) => nudge(id, phaseOf(id) === "rigid" ? "se" : sideways ? "e" : "s", dx * STEP, dy * STEP))],
      ];
    }),
  );
  tinykeys(window, {
    ...arrows,
    Space: when(() => (playing.value = !playing.value)),
    ",": step(-1),
    ".": step(1),
    k: ofSelected((id) => change((its) => toggleKeyframe(its, id, frame.value))),
    n: when(add),
    "[": ofSelected((id) => change((its) => moveInDepth(its, id, 1))),
    "]": ofSelected((id) => change((its) => moveInDepth(its, id, -1))),
    Delete: ofSelected((id) => change((its) => removeThing(its, id))),
    "$mod+z": when(undo),
    "$mod+Shift+Z": when(redo),
    "$mod+y": when(redo),
  });
}

const phaseOf = (id: string) => phaseAt(trackOf(plan.value!, id), frame.value).label;

function nudge(id: string, handle: "move" | "e" | "s" | "se", dx: number, dy: number): void {
  const now = frame.value;
  const box = trackOf(plan.value!, id).boxes[now] as Box;
  const grow = handle === "se" ? Math.max(Math.abs(dx), Math.abs(dy)) * Math.sign(dx + dy) : 0;
  const to = handle === "se" ? dragged(box, "se", grow, grow, true) : dragged(box, handle, dx, dy, false);
  change((its) => setBox(its, id, now, to), `nudge ${id} ${now}`);
}
