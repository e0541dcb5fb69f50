/** What can be done without a pointer. */

import { tinykeys } from "tinykeys";
import { type Box, dragged } from "./boxes.ts";
import { add, removeSelected } from "./inspector.tsx";
import { moveInDepth, moveTogether, phaseAt, setBox, toggleKeyframe, trackOf } from "./plan-editing.ts";
import { change, frame, goTo, plan, playing, redo, selected, selection, undo } from "./state.ts";

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
  const arrows = Object.fromEntries(
    (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"] as const).flatMap((key) => {
      const along = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
      const sideways = key === "ArrowLeft" || key === "ArrowRight";
      const [dx, dy] = sideways ? [along, 0] : [0, along];
      return [
        [key, when(() => move(dx * STEP, dy * STEP))],
        [`Shift+${key}`, when(() => move(5 * dx * STEP, 5 * dy * STEP))],
        [`Alt+${key}`, ofSelected((id) => resize(id, sideways ? "e" : "s", along * STEP))],
      ];
    }),
  );
  tinykeys(window, {
    ...arrows,
    Space: when(() => (playing.value = !playing.value)),
    ",": when(() => goTo(frame.value - 1)),
    ".": when(() => goTo(frame.value + 1)),
    k: ofSelected((id) => change((its) => toggleKeyframe(its, id, frame.value))),
    n: when(add),
    "[": ofSelected((id) => change((its) => moveInDepth(its, id, 1))),
    "]": ofSelected((id) => change((its) => moveInDepth(its, id, -1))),
    Delete: when(removeSelected),
    Backspace: when(removeSelected),
    "$mod+a": when(() => (selection.value = plan.value!.tracks.map((its) => its.instance))),
    "$mod+z": when(undo),
    "$mod+Shift+Z": when(redo),
    "$mod+y": when(redo),
  });
}

function move(dx: number, dy: number): void {
  const ids = selection.value;
  change((its) => moveTogether(its, ids, frame.value, dx, dy), `move ${ids} ${frame.value}`);
}

/** What is rigid keeps its shape. */
function resize(id: string, side: "e" | "s", by: number): void {
  const track = trackOf(plan.value!, id);
  const box = track.boxes[frame.value] as Box;
  const keepsShape = phaseAt(track, frame.value).label === "rigid";
  const to = dragged(box, keepsShape ? "se" : side, by, by, keepsShape);
  change((its) => setBox(its, id, frame.value, to), `size of ${id} ${frame.value}`);
}
