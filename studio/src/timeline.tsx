/** A lane for every thing: its phases, whose ends can be dragged, and its keyframes. */

import { useRef } from "preact/hooks";
import { type State, type Track, movePhaseEnd, stateOf } from "./plan-editing.ts";
import { change, edited, frame, frames, goTo, select, selection, wrong } from "./state.ts";

export const STATE_NAMES: Record<State, string> = {
  motionless: "motionless",
  rigid: "rigid",
  non_rigid: "non-rigid",
  absent: "not there",
};

/** As far as both phases keep a frame. */
function moveEnd(track: Track, index: number, to: number): void {
  if (to >= track.phases[index]!.start && to < track.phases[index + 1]!.end && to !== track.phases[index]!.end)
    change((its) => movePhaseEnd(its, track.instance, index, to), `phase ${track.instance} ${index}`);
}

export function Timeline() {
  const area = useRef<HTMLDivElement>(null);
  const { plan, keyframes } = edited.value!;
  const count = frames.value;
  const share = (at: number) => `${(100 * at) / count}%`;
  const frameAt = (event: PointerEvent) => {
    const { left, width } = area.current!.getBoundingClientRect();
    return Math.floor(((event.clientX - left) / width) * count);
  };
  const scrub = (event: PointerEvent) => {
    if (event.type === "pointerdown" || event.buttons === 1) goTo(frameAt(event));
  };
  const ticks = Math.min(count, 9);
  return (
    <section class="panel timeline" aria-label="Timeline">
      <div class="names">
        <span class="ruler" />
        {plan.graph.instances.map((its, index) => (
          <button
            type="button"
            class={`${its.label} ${selection.value.includes(its.id) ? "selected" : ""}`}
            aria-pressed={selection.value.includes(its.id)}
            onClick={(event) => select(its.id, event.shiftKey)}
          >
            <i class="dot" /> {index + 1} {its.name}
            {wrong.value.some((breach) => breach.instance === its.id) && <b title="It breaks a rule"> !</b>}
          </button>
        ))}
      </div>
      <div class="lanes" ref={area}>
        <div class="ruler" onPointerDown={scrub} onPointerMove={scrub}>
          {Array.from({ length: ticks }, (_, tick) => Math.round((tick * (count - 1)) / Math.max(ticks - 1, 1))).map((at) => (
            <span style={{ left: share(at + 0.5) }}>{at}</span>
          ))}
        </div>
        {plan.tracks.map((track) => (
          <div
            class={`lane ${selection.value.includes(track.instance) ? "selected" : ""}`}
            data-lane={track.instance}
            onPointerDown={(event) => {
              select(track.instance);
              scrub(event);
            }}
            onPointerMove={scrub}
          >
            {track.phases.map((phase) => (
              <span
                class={`phase ${stateOf(phase)}`}
                style={{ left: share(phase.start), width: `calc(${share(phase.end + 1 - phase.start)} - 2px)` }}
                title={`${STATE_NAMES[stateOf(phase)]}, frames ${phase.start} to ${phase.end}`}
              >
                {STATE_NAMES[stateOf(phase)]}
              </span>
            ))}
            {track.phases.slice(0, -1).map((phase, index) => (
              <span
                class="edge"
                data-edge={index}
                style={{ left: share(phase.end + 1) }}
                title="Drag, or arrow keys: where one phase ends and the next begins"
                tabIndex={0}
                role="slider"
                aria-label={`End of ${STATE_NAMES[stateOf(phase)]}`}
                aria-valuenow={phase.end}
                aria-valuemin={phase.start}
                aria-valuemax={track.phases[index + 1]!.end - 1}
                onKeyDown={(event) => {
                  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
                  if (by === undefined) return;
                  event.stopPropagation(); // it moves no box
                  moveEnd(track, index, phase.end + by);
                }}
                onPointerDown={(event) => {
                  event.stopPropagation();
                  event.currentTarget.setPointerCapture(event.pointerId);
                }}
                onPointerMove={(event) => {
                  if (event.buttons !== 1) return;
                  event.stopPropagation();
                  moveEnd(track, index, frameAt(event));
                }}
              />
            ))}
            {(keyframes[track.instance] ?? []).map((at) => (
              <i class="keyframe" style={{ left: share(at + 0.5) }} title={`keyframe at frame ${at}`} data-keyframe={at} />
            ))}
          </div>
        ))}
        <div class="playhead" style={{ left: share(frame.value + 0.5) }} />
      </div>
    </section>
  );
}
