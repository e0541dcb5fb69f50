/** The stage: the video, and over it the boxes where they are planned, to be moved, and where they were found. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Box, type Handle, centre, dragged, hull, iou, same } from "./boxes.ts";
import { type Phase, holdStill, instanceOf, isThere, keepShape, moveTogether, phaseAt, setBox, trackOf } from "./plan-editing.ts";
import { frameAt, timeOf } from "./playback.ts";
import { type Guide, snap } from "./snapping.ts";
import {
  change,
  commitDraft,
  draft,
  edited,
  format,
  frame,
  frames,
  goTo,
  history,
  jobPlan,
  mainJob,
  message,
  plan,
  playing,
  select,
  selected,
  selection,
  shown,
  videoOf,
  wrong,
} from "./state.ts";

const HANDLES: Handle[] = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const SNAP_PIXELS = 7;

interface Drag {
  id: string;
  handle: Handle;
  /** The box, or the smallest one around all that are moved together. */
  from: Box;
  x: number;
  y: number;
}

export function Stage() {
  const surface = useRef<HTMLDivElement>(null);
  const [[across, down], setSize] = useState<[number, number]>([0, 0]);
  const [drag, setDrag] = useState<Drag | null>(null);
  const [guides, setGuides] = useState<Guide[]>([]);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize([entry!.contentRect.width, entry!.contentRect.height]));
    observer.observe(surface.current!);
    return () => observer.disconnect();
  }, []);

  const its = plan.value!;
  const now = Math.min(frame.value, frames.value - 1);
  const { planned, found, video, onion, snap: snaps } = shown.value;
  const order = [...its.depth_order].reverse(); // the nearest is drawn last
  const there = order.filter((id) => isThere(trackOf(its, id), now));
  const boxOf = (id: string) => trackOf(its, id).boxes[now] as Box;
  const url = videoOf(mainJob.value);

  const begin = (event: PointerEvent, id: string, handle: Handle) => {
    if (event.button !== 0) return;
    event.stopPropagation();
    const isAmongMore = selection.value.includes(id) && selection.value.length > 1;
    if (event.shiftKey) select(id, true);
    else if (isAmongMore) selection.value = [...selection.value.filter((its) => its !== id), id];
    else select(id);
    if (selected.value !== id) return; // no longer
    const element = event.currentTarget as SVGElement;
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true });
    playing.value = false;
    const held = handle === "move" ? selection.value.filter((its) => there.includes(its)) : [id];
    setDrag({ id, handle, from: hull(held.map(boxOf)), x: event.clientX, y: event.clientY });
  };
  const move = (event: PointerEvent) => {
    if (drag === null) return;
    const base = history.value!.present;
    const held = drag.handle === "move" ? selection.value : [drag.id];
    const keep = phaseAt(trackOf(base.plan, drag.id), now).label === "rigid";
    const to = [(event.clientX - drag.x) / across, (event.clientY - drag.y) / down] as const;
    let box = dragged(drag.from, drag.handle, ...to, keep);
    const sticks = snaps && !event.altKey && !(keep && drag.handle.length === 2);
    const others = there.filter((id) => !held.includes(id) && !held.includes(instanceOf(its, id).parent ?? "")).map(boxOf);
    const snapped = sticks
      ? snap(box, drag.handle, others, [SNAP_PIXELS / across, SNAP_PIXELS / down])
      : { box, guides: [] };
    box = snapped.box;
    setGuides(snapped.guides);
    if (same(box, drag.from)) draft.value = null;
    else if (drag.handle !== "move") draft.value = setBox(base, drag.id, now, box);
    else draft.value = moveTogether(base, held, now, box[0] - drag.from[0], box[1] - drag.from[1]);
  };
  const end = (event: PointerEvent) => {
    if (drag !== null && draft.value === null && !event.shiftKey) select(drag.id);
    setDrag(null);
    setGuides([]);
    commitDraft();
  };
  const abandon = () => {
    draft.value = null;
    setDrag(null);
    setGuides([]);
  };
  useEffect(() => {
    const escape = (event: KeyboardEvent) => event.key === "Escape" && abandon();
    window.addEventListener("keydown", escape);
    return () => window.removeEventListener("keydown", escape);
  }, []);

  return (
    <section class="panel" aria-label="Stage">
      <div
        class="stage"
        ref={surface}
        style={{
          aspectRatio: `${format.value.width} / ${format.value.height}`,
          maxWidth: `calc(56vh * ${format.value.width / format.value.height})`,
        }}
        onMouseDown={(event) => event.preventDefault()} // which would begin to select text
        onPointerDown={() => select(null)}
      >
        {url !== null && <Video url={url} hidden={!video} />}
        {across > 0 && (
          <svg width={across} height={down} onPointerMove={move} onPointerUp={end} onPointerCancel={abandon}>
            {planned && onion && selected.value !== null && <Onion id={selected.value} size={[across, down]} />}
            {found && <Found size={[across, down]} />}
            {planned &&
              there.map((id) => (
                <PlannedBox key={id} id={id} box={boxOf(id)} size={[across, down]} begin={begin} />
              ))}
            {planned &&
              selected.value !== null &&
              there.includes(selected.value) &&
              HANDLES.map((handle) => (
                <Grip handle={handle} id={selected.value!} box={boxOf(selected.value!)} size={[across, down]} begin={begin} />
              ))}
            {guides.map((guide) =>
              guide.axis === "x" ? (
                <line class="guide" x1={guide.at * across} x2={guide.at * across} y1={0} y2={down} />
              ) : (
                <line class="guide" y1={guide.at * down} y2={guide.at * down} x1={0} x2={across} />
              ),
            )}
          </svg>
        )}
        {planned && [...new Set(wrong.value.map((breach) => breach.instance))].map((id) => <Wrong key={id} id={id} box={boxOf(id)} />)}
      </div>
      <Transport />
    </section>
  );
}

interface BoxProps {
  id: string;
  box: Box;
  size: [number, number];
  begin: (event: PointerEvent, id: string, handle: Handle) => void;
}

function PlannedBox({ id, box, size: [across, down], begin }: BoxProps) {
  const its = plan.value!;
  const instance = instanceOf(its, id);
  const label = phaseAt(trackOf(its, id), frame.value).label;
  const number = its.graph.instances.findIndex((each) => each.id === id) + 1;
  const [x, y] = [box[0] * across, box[1] * down];
  const [w, h] = [(box[2] - box[0]) * across, (box[3] - box[1]) * down];
  const text = `${number} ${instance.name}`;
  const tagWidth = Math.min(text.length * 6.6 + 10, Math.max(w, 60));
  const tagY = y > 18 ? y - 17 : y + 1;
  const bad = wrong.value.some((breach) => breach.instance === id);
  return (
    <g
      class={`box ${label} ${selection.value.includes(id) ? "selected" : ""} ${bad ? "wrong" : ""}`}
      tabIndex={0}
      role="button"
      aria-label={`${instance.name}, ${label.replace("_", "-")}, frame ${frame.value}`}
      data-instance={id}
      onFocus={() => selection.value.includes(id) || select(id)}
      onPointerDown={(event) => begin(event, id, "move")}
    >
      <rect x={x} y={y} width={w} height={h} rx={3} />
      <g class="tag">
        <rect x={x} y={tagY} width={tagWidth} height={16} rx={3} />
        <text x={x + 5} y={tagY + 12}>
          {text.length * 6.6 + 10 > tagWidth ? `${text.slice(0, Math.floor((tagWidth - 16) / 6.6))}…` : text}
        </text>
      </g>
    </g>
  );
}

function Grip({ handle, id, box, size: [across, down], begin }: BoxProps & { handle: Handle }) {
  const x = (handle.includes("w") ? box[0] : handle.includes("e") ? box[2] : centre(box)[0]) * across;
  const y = (handle.includes("n") ? box[1] : handle.includes("s") ? box[3] : centre(box)[1]) * down;
  return (
    <g class={`grip ${handle}`} data-handle={handle} onPointerDown={(event) => begin(event, id, handle)}>
      <rect class="reach" x={x - 10} y={y - 10} width={20} height={20} />
      <rect x={x - 4} y={y - 4} width={8} height={8} rx={2} />
    </g>
  );
}

/** The way of a thing, with a dot for each frame, and where its keyframes are. */
function Onion({ id, size: [across, down] }: { id: string; size: [number, number] }) {
  const track = trackOf(plan.value!, id);
  const boxes = track.boxes as Box[];
  const pinned = edited.value!.keyframes[id] ?? [];
  const label = phaseAt(track, frame.value).label;
  const ghosts = new Set([...pinned, 0, Math.round((boxes.length - 1) / 2), boxes.length - 1]);
  const points = boxes.map((box) => [centre(box)[0] * across, centre(box)[1] * down] as const);
  return (
    <g class={`onion ${label}`}>
      {[...ghosts]
        .filter((each) => each !== frame.value && isThere(track, each) && !same(boxes[each]!, boxes[frame.value]!))
        .map((each) => {
          const [x0, y0, x1, y1] = boxes[each]!;
          return <rect x={x0 * across} y={y0 * down} width={(x1 - x0) * across} height={(y1 - y0) * down} rx={3} />;
        })}
      <polyline points={points.map((point) => point.join(",")).join(" ")} />
      {points.map(([x, y], each) => (
        <circle cx={x} cy={y} r={pinned.includes(each) ? 4 : 2} class={each === frame.value ? "now" : ""} />
      ))}
    </g>
  );
}

/** Where the things of the job's plan were found in its video. */
function Found({ size: [across, down] }: { size: [number, number] }) {
  const seen = mainJob.value?.diagnostics?.adherence ?? [];
  return (
    <g class="found">
      {seen
        .filter((its) => its.detected && its.boxes[frame.value] !== undefined)
        .map((its) => {
          const [x0, y0, x1, y1] = its.boxes[frame.value] as Box;
          const was = jobPlan.value?.tracks.find((track) => track.instance === its.instance)?.boxes[frame.value];
          return (
            <g data-found={its.instance}>
              <rect x={x0 * across} y={y0 * down} width={(x1 - x0) * across} height={(y1 - y0) * down} rx={3} />
              <text x={x0 * across + 5} y={y1 * down - 6}>
                {its.instance} found{was === undefined ? "" : `, IoU ${iou(was as Box, its.boxes[frame.value] as Box).toFixed(2)}`}
              </text>
            </g>
          );
        })}
    </g>
  );
}

function Wrong({ id, box }: { id: string; box: Box }) {
  // Below the box, above it, or at its foot: wherever there is room.
  const above = `calc(${percent(1 - box[1])} + 18px)`;
  const place = box[3] < 0.6 ? { top: percent(box[3]) } : { bottom: box[1] > 0.35 ? above : percent(1 - box[3]) };
  return (
    <div
      class="breach"
      role="alert"
      style={{ left: percent(Math.min(box[0], 0.5)), ...place }}
      onPointerDown={(event) => event.stopPropagation()}
    >
      {wrong.value
        .filter((breach) => breach.instance === id)
        .map(({ message, mend }) => (
          <p>
            {id}: {message}{" "}
            {mend !== null && (
              <button type="button" onClick={() => change((it) => MENDS[mend.how](it, id, nearest(mend.in)))}>
                {mend.how}
              </button>
            )}
          </p>
        ))}
    </div>
  );
}

const MENDS = { "Hold it still": holdStill, "Keep its shape": keepShape };
/** The frame that is looked at, where it is in the phase. */
const nearest = ({ start, end }: Phase): number => Math.max(start, Math.min(frame.value, end));
const percent = (share: number): string => `${share * 100}%`;

/** Shows the frame that is looked at, or plays and says which frame that is. */
function Video({ url, hidden }: { url: string; hidden: boolean }) {
  const element = useRef<HTMLVideoElement>(null);
  const { fps } = format.value;
  useEffect(() => {
    const video = element.current!;
    let handle = 0;
    const tell = (_: number, meta: VideoFrameCallbackMetadata) => {
      const seen = frameAt(meta.mediaTime, fps, frames.value);
      video.dataset.frame = String(seen);
      if (!video.paused) frame.value = seen;
      handle = video.requestVideoFrameCallback(tell);
    };
    handle = video.requestVideoFrameCallback(tell);
    return () => video.cancelVideoFrameCallback(handle);
  }, [url]);
  useEffect(() => {
    const video = element.current!;
    if (!playing.value) return;
    void video.play().catch(() => (playing.value = false));
    return () => video.pause();
  }, [playing.value, url]);
  useEffect(() => {
    if (!playing.value) element.current!.currentTime = timeOf(frame.value, fps);
  }, [frame.value, playing.value, url]);
  const complain = () => (message.value = "The video cannot be loaded from the storage: load the page again, or ask whoever runs it.");
  return (
    <video ref={element} src={url} class={hidden ? "hidden" : ""} onError={complain} muted loop playsInline preload="auto" />
  );
}

function Transport() {
  const last = frames.value - 1;
  const hasVideo = videoOf(mainJob.value) !== null;
  useEffect(() => {
    if (!playing.value || hasVideo) return;
    const timer = setInterval(() => (frame.value = (frame.value + 1) % frames.value), 1000 / format.value.fps);
    return () => clearInterval(timer);
  }, [playing.value, hasVideo]);
  const flag = (name: keyof typeof shown.value, text: string) => (
    <label class="check">
      <input
        type="checkbox"
        checked={shown.value[name]}
        onChange={(event) => (shown.value = { ...shown.value, [name]: event.currentTarget.checked })}
      />
      {text}
    </label>
  );
  return (
    <div class="transport">
      <button type="button" aria-label="Frame before" onClick={() => goTo(frame.value - 1)}>
        ‹
      </button>
      <button type="button" class="play" aria-label={playing.value ? "Pause" : "Play"} onClick={() => (playing.value = !playing.value)}>
        {playing.value ? "❚❚" : "▶"}
      </button>
      <button type="button" aria-label="Frame after" onClick={() => goTo(frame.value + 1)}>
        ›
      </button>
      <output aria-label="Frame">
        frame {frame.value} of {last}
      </output>
      <span class="spacer" />
      {flag("planned", "planned")}
      {hasVideo && flag("found", "found")}
      {hasVideo && flag("video", "video")}
      {flag("onion", "path")}
      {flag("snap", "snap")}
    </div>
  );
}
