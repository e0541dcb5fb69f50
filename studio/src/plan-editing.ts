/** Changes of a plan: each takes one and gives another.
 *
 * A plan has a box for every frame, and so have edits: a keyframe pins a frame's box, and when a box is changed, the
 * frames up to the nearest keyframe on either side take a share of the change that falls to nothing there.  Where no
 * keyframe is, the rest of the path follows.  So what lies between keeps the course that the planner gave it.
 */

import { type Box, around, aspect, carried, centre, dragged, height, hull, inside, same, width } from "./boxes.ts";
import type { components } from "./openapi.d.ts";

type Schemas = components["schemas"];
export type Plan = Schemas["Plan"];
export type Instance = Schemas["Instance"];
export type Track = Schemas["Track"];
export type Phase = Schemas["Phase"];
export type Relation = Schemas["Relation"];
export type Label = Schemas["MotionLabel"];
/** A label, or that the thing is not there. */
export type State = Label | "absent";

export interface Edited {
  plan: Plan;
  /** The frames that are pinned, in order, by instance. */
  keyframes: Record<string, number[]>;
}

export const LABELS: Label[] = ["motionless", "rigid", "non_rigid"];
/** By how much a rigid thing's shape may change (the API's ASPECT_TOLERANCE). */
export const SHAPE_TOLERANCE = 0.02;
export const MOST_THINGS = 32;
export const MOST_RELATIONS = 64;

export const trackOf = (plan: Plan, id: string): Track => plan.tracks.find((track) => track.instance === id)!;
export const instanceOf = (plan: Plan, id: string): Instance => plan.graph.instances.find((its) => its.id === id)!;
export const framesOf = (plan: Plan): number => plan.tracks[0]!.boxes.length;
export const phaseAt = (track: Track, frame: number): Phase =>
  track.phases.find((phase) => phase.start <= frame && frame <= phase.end)!;
export const stateOf = (phase: Phase): State => (phase.absent ? "absent" : phase.label);
export const isThere = (track: Track, frame: number): boolean => !phaseAt(track, frame).absent;

// boxes

/** How much of a change at `frame` each frame takes, 0 to 1.  A frame in which the thing rests takes what the edge of
 * its rest takes that is nearer: what is motionless moves as one. */
export function shares(track: Track, pinned: number[], frame: number): number[] {
  const at = phaseAt(track, frame);
  const rests = at.label === "motionless";
  const [first, last] = rests ? [at.start, at.end] : [frame, frame];
  const before = pinned.filter((its) => its < first).at(-1);
  const after = pinned.find((its) => its > last);
  const share = (its: number): number => {
    if (its < first) return before === undefined ? 1 : Math.max(0, (its - before) / (first - before));
    if (its > last) return after === undefined ? 1 : Math.max(0, (after - its) / (after - last));
    return 1;
  };
  return track.boxes.map((_, its) => {
    const phase = phaseAt(track, its);
    if (phase.label !== "motionless") return share(its);
    if (pinned.some((pin) => phase.start <= pin && pin <= phase.end) && phase !== at) return 0;
    return share(phase.end < first ? phase.end : phase.start);
  });
}

/** The box of a thing in one frame is changed, and becomes a keyframe; its parts go with it. */
export function setBox(edited: Edited, id: string, frame: number, box: Box): Edited {
  const track = trackOf(edited.plan, id);
  const pinned = edited.keyframes[id] ?? [];
  const old = track.boxes[frame] as Box;
  const to = inside(box);
  const [dx, dy] = [centre(to)[0] - centre(old)[0], centre(to)[1] - centre(old)[1]];
  const [wider, taller] = [width(to) / width(old), height(to) / height(old)];
  const boxes = shares(track, pinned, frame).map((share, its): Box => {
    const its_box = track.boxes[its] as Box;
    if (share === 0) return its_box;
    if (its === frame) return to;
    const [x, y] = centre(its_box);
    return inside(around([x + dx * share, y + dy * share], width(its_box) * wider ** share, height(its_box) * taller ** share));
  });
  return withKeyframe({ ...edited, plan: withBoxes(edited.plan, id, rest(track, boxes, frame)) }, id, frame);
}

/** Things are moved together, as far as all of them stay inside the frame; parts go with their wholes. */
export function moveTogether(edited: Edited, ids: string[], frame: number, dx: number, dy: number): Edited {
  const { plan } = edited;
  const isPart = (id: string): boolean => {
    const { parent } = instanceOf(plan, id);
    return !!parent && (ids.includes(parent) || isPart(parent));
  };
  const moved = ids.filter((id) => isThere(trackOf(plan, id), frame) && !isPart(id));
  if (moved.length === 0) return edited;
  const boxOf = (id: string) => trackOf(plan, id).boxes[frame] as Box;
  const from = hull(moved.map(boxOf));
  const to = dragged(from, "move", dx, dy, false);
  const [right, down] = [to[0] - from[0], to[1] - from[1]];
  return moved.reduce((its, id) => {
    const [x0, y0, x1, y1] = boxOf(id);
    return setBox(its, id, frame, [x0 + right, y0 + down, x1 + right, y1 + down]);
  }, edited);
}

/** Rounding must not make what is motionless move. */
function rest(track: Track, boxes: Box[], frame: number): Box[] {
  return boxes.map((box, its) => {
    const phase = phaseAt(track, its);
    if (phase.label !== "motionless") return box;
    const held = phase.start <= frame && frame <= phase.end ? frame : phase.start;
    const rested = track.boxes.slice(phase.start, phase.end + 1).every((other) => same(other as Box, track.boxes[phase.start] as Box));
    return rested ? boxes[held]! : box;
  });
}

/** New boxes of a thing; its parts are carried along, and so are theirs. */
function withBoxes(plan: Plan, id: string, boxes: Box[]): Plan {
  const before = trackOf(plan, id).boxes as Box[];
  const tracks = plan.tracks.map((track) => (track.instance === id ? { ...track, boxes } : track));
  let changed: Plan = { ...plan, tracks };
  for (const part of plan.graph.instances.filter((its) => its.parent === id)) {
    const own = trackOf(changed, part.id).boxes as Box[];
    changed = withBoxes(
      changed,
      part.id,
      own.map((box, frame) => (same(before[frame]!, boxes[frame]!) ? box : carried(box, before[frame]!, boxes[frame]!))),
    );
  }
  return changed;
}

export function withKeyframe(edited: Edited, id: string, frame: number): Edited {
  const frames = new Set(edited.keyframes[id] ?? []).add(frame);
  return { ...edited, keyframes: { ...edited.keyframes, [id]: [...frames].sort((a, b) => a - b) } };
}

/** Pins a frame, or lets it go: it then follows its neighbours. */
export function toggleKeyframe(edited: Edited, id: string, frame: number): Edited {
  const pinned = edited.keyframes[id] ?? [];
  if (!pinned.includes(frame)) return withKeyframe(edited, id, frame);
  return { ...edited, keyframes: { ...edited.keyframes, [id]: pinned.filter((its) => its !== frame) } };
}

export type Easing = "even" | "smooth";

/** The way between the keyframes around a frame, or the phase's ends, is made straight: at an even speed, or with a
 * soft beginning and end. */
export function ease(edited: Edited, id: string, frame: number, easing: Easing): Edited {
  const track = trackOf(edited.plan, id);
  const phase = phaseAt(track, frame);
  const pinned = (edited.keyframes[id] ?? []).filter((its) => phase.start <= its && its <= phase.end);
  const first = pinned.filter((its) => its <= frame).at(-1) ?? phase.start;
  const last = pinned.find((its) => its > frame) ?? phase.end;
  if (first === last || phase.label === "motionless") return edited;
  const [from, to] = [track.boxes[first] as Box, track.boxes[last] as Box];
  const boxes = track.boxes.map((box, its): Box => {
    if (its <= first || its >= last) return box as Box;
    const t = (its - first) / (last - first);
    const share = easing === "even" ? t : t * t * (3 - 2 * t);
    return between(from, to, share);
  });
  return { ...edited, plan: withBoxes(edited.plan, id, boxes) };
}

/** Centres move along the line; sides by the same factor in every frame, so that equal shapes stay equal. */
export function between(from: Box, to: Box, share: number): Box {
  const [a, b] = [centre(from), centre(to)];
  return inside(
    around(
      [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share],
      width(from) * (width(to) / width(from)) ** share,
      height(from) * (height(to) / height(from)) ** share,
    ),
  );
}

/** A thing keeps the box of this frame throughout the phase. */
export function holdStill(edited: Edited, id: string, frame: number): Edited {
  const track = trackOf(edited.plan, id);
  const phase = phaseAt(track, frame);
  const boxes = track.boxes.map((box, its) => (its < phase.start || its > phase.end ? box : track.boxes[frame]) as Box);
  return { ...edited, plan: withBoxes(edited.plan, id, boxes) };
}

/** A thing keeps the shape of this frame throughout the phase, each box around its centre and of its area. */
export function keepShape(edited: Edited, id: string, frame: number): Edited {
  const track = trackOf(edited.plan, id);
  const phase = phaseAt(track, frame);
  const shape = aspect(track.boxes[frame] as Box);
  const boxes = track.boxes.map((its, index): Box => {
    const box = its as Box;
    if (index < phase.start || index > phase.end || index === frame) return box;
    const area = width(box) * height(box);
    return inside(around(centre(box), Math.sqrt(area * shape), Math.sqrt(area / shape)));
  });
  return { ...edited, plan: withBoxes(edited.plan, id, boxes) };
}

// phases

function withPhases(edited: Edited, id: string, phases: Phase[]): Edited {
  const plan = edited.plan;
  const track = trackOf(plan, id);
  if (phases.every((phase) => phase.absent)) return edited; // it must be there at some time
  const boxes = track.boxes.map((box, frame): Box => {
    const index = phases.findIndex((phase) => phase.start <= frame && frame <= phase.end);
    if (!phases[index]!.absent) return box as Box;
    const next = phases.slice(index).find((phase) => !phase.absent);
    const last = phases.slice(0, index).filter((phase) => !phase.absent).at(-1);
    return track.boxes[next === undefined ? last!.end : next.start] as Box; // where it is seen next, or was seen last
  });
  const there = phases.filter((phase) => !phase.absent).map((phase) => phase.label);
  const label = LABELS.filter((its) => there.includes(its)).at(-1)!; // the one that moves most
  const instances = plan.graph.instances.map((its) => (its.id === id ? { ...its, label } : its));
  const tracks = plan.tracks.map((its) => (its.instance === id ? { ...its, phases, boxes } : its));
  return { ...edited, plan: { ...plan, graph: { ...plan.graph, instances }, tracks } };
}

/** What a thing does in the phase that a frame belongs to. */
export function setState(edited: Edited, id: string, frame: number, state: State): Edited {
  const phases = trackOf(edited.plan, id).phases.map((phase): Phase => {
    if (frame < phase.start || frame > phase.end) return phase;
    return { ...phase, label: state === "absent" ? "motionless" : state, absent: state === "absent" };
  });
  return withPhases(edited, id, phases);
}

/** Another phase begins at a frame, for now like the one before it, whose last frame is pinned: what comes after does
 * not move what was before. */
export function splitPhase(edited: Edited, id: string, frame: number): Edited {
  if (phaseAt(trackOf(edited.plan, id), frame).start === frame) return edited;
  const phases = trackOf(edited.plan, id).phases.flatMap((phase) =>
    phase.start < frame && frame <= phase.end ? [{ ...phase, end: frame - 1 }, { ...phase, start: frame }] : [phase],
  );
  return withKeyframe(withPhases(edited, id, phases), id, frame - 1);
}

/** The end of phase `index` moves to `end`; phases that have no frame left go. */
export function movePhaseEnd(edited: Edited, id: string, index: number, end: number): Edited {
  const track = trackOf(edited.plan, id);
  const last = track.boxes.length - 1;
  const to = Math.max(-1, Math.min(end, last));
  const phases = track.phases
    .map((phase, its) => {
      if (its <= index) return { ...phase, end: its === index ? to : Math.min(phase.end, to) };
      return { ...phase, start: its === index + 1 ? to + 1 : Math.max(phase.start, to + 1) };
    })
    .filter((phase) => phase.start <= phase.end);
  return withPhases(edited, id, phases);
}

// things and relations

export function setInstance(edited: Edited, id: string, fields: Partial<Pick<Instance, "name" | "description">>): Edited {
  const instances = edited.plan.graph.instances.map((its) => (its.id === id ? { ...its, ...fields } : its));
  return withGraph(edited, { instances });
}

const withGraph = (edited: Edited, graph: Partial<Plan["graph"]>): Edited => ({
  ...edited,
  plan: { ...edited.plan, graph: { ...edited.plan.graph, ...graph } },
});

/** A motionless thing in the middle, nearest to the camera; its id is `freeId(plan)`. */
export function addThing(edited: Edited, name: string): Edited {
  const { plan } = edited;
  if (plan.tracks.length >= MOST_THINGS) return edited;
  const id = freeId(plan);
  const frames = framesOf(plan);
  const instance: Instance = { id, name, description: name, attributes: [], label: "motionless", parent: null };
  const track: Track = {
    instance: id,
    phases: [{ label: "motionless", start: 0, end: frames - 1, absent: false }],
    boxes: Array.from({ length: frames }, () => [0.4, 0.4, 0.6, 0.6] as Box),
  };
  return {
    ...edited,
    plan: {
      ...plan,
      graph: { ...plan.graph, instances: [...plan.graph.instances, instance] },
      tracks: [...plan.tracks, track],
      depth_order: [id, ...plan.depth_order],
    },
  };
}

export function freeId(plan: Plan): string {
  const taken = new Set(plan.graph.instances.map((its) => its.id));
  for (let number = 1; ; number++) if (!taken.has(`thing_${number}`)) return `thing_${number}`;
}

/** A thing goes with its relations; its parts become things of their own.  The last one stays. */
export function removeThing(edited: Edited, id: string): Edited {
  const { plan } = edited;
  if (plan.tracks.length === 1) return edited;
  const others = plan.graph.instances.filter((its) => its.id !== id);
  const keyframes = { ...edited.keyframes };
  delete keyframes[id];
  return {
    keyframes,
    plan: {
      ...plan,
      graph: {
        ...plan.graph,
        instances: others.map((its) => (its.parent === id ? { ...its, parent: null } : its)),
        relations: relationsOf(plan).filter((its) => its.source !== id && its.target !== id),
      },
      tracks: plan.tracks.filter((track) => track.instance !== id),
      depth_order: plan.depth_order.filter((its) => its !== id),
    },
  };
}

export const relationsOf = (plan: Plan): Relation[] => plan.graph.relations ?? [];

export function setRelation(edited: Edited, index: number, relation: Relation): Edited {
  return withGraph(edited, { relations: relationsOf(edited.plan).map((its, at) => (at === index ? relation : its)) });
}

export function addRelation(edited: Edited, relation: Relation): Edited {
  const relations = relationsOf(edited.plan);
  if (relations.length >= MOST_RELATIONS || relation.source === relation.target) return edited;
  return withGraph(edited, { relations: [...relations, relation] });
}

export function removeRelation(edited: Edited, index: number): Edited {
  return withGraph(edited, { relations: relationsOf(edited.plan).filter((_, at) => at !== index) });
}

/** Towards the camera with -1, away from it with 1. */
export function moveInDepth(edited: Edited, id: string, by: -1 | 1): Edited {
  const order = [...edited.plan.depth_order];
  const at = order.indexOf(id);
  const to = at + by;
  if (to < 0 || to >= order.length) return edited;
  [order[at], order[to]] = [order[to]!, order[at]!];
  return { ...edited, plan: { ...edited.plan, depth_order: order } };
}

// rules

export interface Breach {
  instance: string;
  message: string;
  /** What would mend it, and in which phase. */
  mend: { how: "Hold it still" | "Keep its shape"; in: Phase } | null;
}

/** What the API would refuse, and where, in its words.  It holds only wholes to their labels: a part moves with its
 * whole. */
export function breaches(plan: Plan): Breach[] {
  const found: Breach[] = [];
  for (const { id, name, description, parent } of plan.graph.instances) {
    const tell = (message: string, mend: Breach["mend"] = null) => found.push({ instance: id, message, mend });
    if (name.trim() === "") tell("its name is empty");
    if (description.trim() === "") tell("its description is empty");
    if (relationsOf(plan).some((its) => its.source === id && its.phrase.trim() === "")) tell("one of its relations is empty");
    if (parent) continue;
    const track = trackOf(plan, id);
    for (const phase of track.phases) {
      const { label, start, end } = phase;
      const boxes = track.boxes.slice(start, end + 1) as Box[];
      const where = `${label} in frames ${start} to ${end}`;
      if (label === "motionless" && !boxes.every((box) => same(box, boxes[0]!))) tell(`${where}, but its box changes`, { how: "Hold it still", in: phase });
      const shapes = boxes.map(aspect);
      if (label === "rigid" && Math.max(...shapes) > Math.min(...shapes) * (1 + SHAPE_TOLERANCE))
        tell(`${where}, but its aspect changes by more than 2%`, { how: "Keep its shape", in: phase });
    }
  }
  return found;
}

/** The API's own refusals, at the thing that they name or whose place in the plan they name. */
export function refusals(plan: Plan, violations: readonly Schemas["Violation"][]): Breach[] {
  return violations.flatMap(({ field, message }) => {
    const [, list, index] = /^plan\.(?:graph\.)?(instances|tracks|relations)\.(\d+)/.exec(field) ?? [];
    const at = Number(index);
    const placed = list === "relations" ? relationsOf(plan)[at]?.source : plan.tracks[at]?.instance;
    const named = /(?:track|instance) '(\w+)'/.exec(message)?.[1];
    const instance = plan.tracks.find((track) => track.instance === (placed ?? named))?.instance;
    return instance === undefined ? [] : [{ instance, message, mend: null }];
  });
}
