import assert from "node:assert/strict";
import { test } from "node:test";
import { type Box, centre, dragged, inside, iou } from "../src/boxes.ts";
import {
  type Edited,
  type Phase,
  type Plan,
  addRelation,
  addThing,
  breaches,
  ease,
  holdStill,
  keepShape,
  moveInDepth,
  moveTogether,
  movePhaseEnd,
  refusals,
  removeThing,
  setBox,
  setState,
  shares,
  splitPhase,
  toggleKeyframe,
  trackOf,
} from "../src/plan-editing.ts";

const FRAMES = 9;

/** A car that moves to the right by 0.05 a frame, its flag on it, and a tree. */
function begin(): Edited {
  const thing = (id: string, label: "rigid" | "motionless", parent: string | null = null) =>
    ({ id, name: id, description: `a ${id}`, attributes: [], label, parent });
  const track = (instance: string, label: "rigid" | "motionless", box: (frame: number) => Box) => ({
    instance,
    phases: [{ label, start: 0, end: FRAMES - 1, absent: false }],
    boxes: Array.from({ length: FRAMES }, (_, frame) => box(frame)),
  });
  const plan: Plan = {
    prompt: "a car drives past a tree",
    background: "a road",
    graph: {
      instances: [thing("car", "rigid"), thing("tree", "motionless"), thing("flag", "rigid", "car")],
      relations: [{ source: "car", target: "tree", kind: "dynamic", phrase: "drives past" }],
      style: [],
      camera: [],
      excluded: [],
      left_out: [],
    },
    tracks: [
      track("car", "rigid", (frame) => [0.1 + 0.05 * frame, 0.5, 0.3 + 0.05 * frame, 0.7]),
      track("tree", "motionless", () => [0.7, 0.1, 0.9, 0.8]),
      track("flag", "rigid", (frame) => [0.15 + 0.05 * frame, 0.4, 0.2 + 0.05 * frame, 0.5]),
    ],
    depth_order: ["car", "flag", "tree"],
    provenance: null,
  };
  return { plan, keyframes: {} };
}

const boxes = (edited: Edited, id: string) => trackOf(edited.plan, id).boxes as Box[];
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 2e-5, `${a} is not ${b}`);
const up = (box: Box, by: number): Box => [box[0], box[1] - by, box[2], box[3] - by];

test("without keyframes the whole path follows", () => {
  const moved = setBox(begin(), "car", 4, up(boxes(begin(), "car")[4]!, 0.2));
  boxes(moved, "car").forEach((box, frame) => {
    near(box[1], 0.3);
    near(box[0], 0.1 + 0.05 * frame);
  });
  assert.deepEqual(moved.keyframes, { car: [4] });
  assert.deepEqual(breaches(moved.plan), []);
});

test("up to a keyframe a change falls to nothing, evenly", () => {
  let edited = toggleKeyframe(begin(), "car", 0);
  edited = setBox(edited, "car", 4, up(boxes(edited, "car")[4]!, 0.2));
  const tops = boxes(edited, "car").map((box) => box[1]);
  [0.5, 0.45, 0.4, 0.35, 0.3, 0.3, 0.3, 0.3, 0.3].forEach((top, frame) => near(tops[frame]!, top));
  edited = setBox(edited, "car", 8, up(boxes(edited, "car")[8]!, 0.1));
  [0.5, 0.45, 0.4, 0.35, 0.3, 0.275, 0.25, 0.225, 0.2].forEach((top, frame) => near(boxes(edited, "car")[frame]![1], top));
});

test("a keyframe that is let go follows its neighbours again", () => {
  let edited = toggleKeyframe(begin(), "car", 0);
  assert.deepEqual(edited.keyframes, { car: [0] });
  edited = toggleKeyframe(edited, "car", 0);
  edited = setBox(edited, "car", 4, up(boxes(edited, "car")[4]!, 0.2));
  near(boxes(edited, "car")[0]![1], 0.3);
});

test("sides grow by the same factor everywhere, so that what is rigid stays so", () => {
  const [x0, y0] = [0.3, 0.5];
  let edited = toggleKeyframe(begin(), "car", 0);
  edited = setBox(edited, "car", 4, [x0, y0, x0 + 0.4, y0 + 0.4]);
  const [first, middle, last] = [0, 2, 8].map((frame) => boxes(edited, "car")[frame]!);
  near(first![2] - first![0], 0.2);
  near(middle![2] - middle![0], 0.2 * Math.SQRT2);
  near(last![3] - last![1], 0.4);
  assert.deepEqual(breaches(edited.plan), []);
});

test("what is motionless moves as one", () => {
  const edited = setBox(begin(), "tree", 3, [0.6, 0.1, 0.8, 0.8]);
  for (const box of boxes(edited, "tree")) assert.deepEqual(box, [0.6, 0.1, 0.8, 0.8]);
});

test("parts go with their whole, and those of a part too", () => {
  const edited = setBox(begin(), "car", 0, [0.1, 0.3, 0.3, 0.5]);
  boxes(edited, "flag").forEach((box, frame) => {
    near(box[1], 0.2);
    near(box[0], 0.15 + 0.05 * frame);
  });
});

test("rest, then motion: what comes after does not move what was before", () => {
  let edited = splitPhase(begin(), "tree", 4);
  edited = setState(edited, "tree", 4, "rigid");
  assert.deepEqual(
    trackOf(edited.plan, "tree").phases.map((phase) => [phase.label, phase.start, phase.end]),
    [
      ["motionless", 0, 3],
      ["rigid", 4, 8],
    ],
  );
  assert.equal(edited.plan.graph.instances[1]!.label, "rigid");
  edited = setBox(edited, "tree", 8, [0.2, 0.1, 0.4, 0.8]);
  for (const frame of [0, 1, 2, 3]) assert.deepEqual(boxes(edited, "tree")[frame], [0.7, 0.1, 0.9, 0.8]);
  near(boxes(edited, "tree")[4]![0], 0.6);
  assert.deepEqual(breaches(edited.plan), []);
  const rest = setBox(edited, "tree", 1, [0.7, 0.2, 0.9, 0.9]);
  for (const frame of [0, 1, 2, 3]) near(boxes(rest, "tree")[frame]![1], 0.2);
  near(boxes(rest, "tree")[8]![1], 0.1);
});

test("shares between two keyframes", () => {
  assert.deepEqual(shares(trackOf(begin().plan, "car"), [2, 6], 4), [0, 0, 0, 0.5, 1, 0.5, 0, 0, 0]);
});

test("the end of a phase moves, and may swallow the next", () => {
  const split = splitPhase(begin(), "car", 5);
  const spans = (edited: Edited) => trackOf(edited.plan, "car").phases.map((phase: Phase) => [phase.start, phase.end]);
  assert.deepEqual(spans(split), [[0, 4], [5, 8]]);
  assert.deepEqual(spans(movePhaseEnd(split, "car", 0, 2)), [[0, 2], [3, 8]]);
  assert.deepEqual(spans(movePhaseEnd(split, "car", 0, 8)), [[0, 8]]);
  assert.deepEqual(spans(movePhaseEnd(split, "car", 0, -1)), [[0, 8]]);
});

test("what is not there rests where it is seen next, or was seen last", () => {
  const split = splitPhase(begin(), "car", 5);
  const late = setState(split, "car", 0, "absent");
  for (const frame of [0, 4]) assert.deepEqual(boxes(late, "car")[frame], boxes(split, "car")[5]);
  const early = setState(split, "car", 8, "absent");
  for (const frame of [5, 8]) assert.deepEqual(boxes(early, "car")[frame], boxes(split, "car")[4]);
  assert.equal(setState(late, "car", 8, "absent"), late); // it must be there at some time
});

test("what breaks a rule is named, and can be mended", () => {
  const still = setState(begin(), "car", 3, "motionless");
  assert.deepEqual(breaches(still.plan), [
    {
      instance: "car",
      message: "motionless in frames 0 to 8, but its box changes",
      mend: { how: "Hold it still", in: trackOf(still.plan, "car").phases[0] },
    },
  ]);
  assert.deepEqual(breaches(holdStill(still, "car", 3).plan), []);
  let wide = toggleKeyframe(begin(), "car", 0);
  wide = setBox(wide, "car", 8, [0.5, 0.5, 0.9, 0.7]);
  assert.deepEqual(breaches(wide.plan).map((breach) => [breach.instance, breach.mend?.how]), [["car", "Keep its shape"]]);
  const kept = keepShape(wide, "car", 8);
  assert.deepEqual(breaches(kept.plan), []);
  near(centre(boxes(kept, "car")[0]!)[0], 0.2);
});

test("what the API refuses is shown at the thing that it names, or whose place it names", () => {
  const { plan } = begin();
  const told = refusals(plan, [
    { field: "plan.graph.instances.1.name", message: "too short" },
    { field: "plan.graph.relations.0.phrase", message: "too long" },
    { field: "plan", message: "track 'flag': it flies away" },
    { field: "plan", message: "track 'ship': nobody knows it" },
    { field: "seed", message: "too large" },
  ]);
  assert.deepEqual(
    told.map((its) => [its.instance, its.message]),
    [["tree", "too short"], ["car", "too long"], ["flag", "track 'flag': it flies away"]],
  );
});

test("things are moved together, as far as all stay inside", () => {
  const moved = moveTogether(begin(), ["tree", "car", "flag"], 0, 0.3, 0.05); // the tree has room for 0.1
  assert.deepEqual(boxes(moved, "tree")[0], [0.8, 0.15, 1, 0.85]);
  assert.deepEqual(boxes(moved, "car")[0], [0.2, 0.55, 0.4, 0.75]);
  assert.deepEqual(boxes(moved, "flag")[0], [0.25, 0.45, 0.3, 0.55]); // once, with its whole
  assert.deepEqual(moved.keyframes, { tree: [0], car: [0] });
});

test("between keyframes a way can be straight, at an even speed or with soft ends", () => {
  let edited = toggleKeyframe(toggleKeyframe(begin(), "car", 0), "car", 8);
  edited = setBox(edited, "car", 4, up(boxes(edited, "car")[4]!, 0.2));
  edited = toggleKeyframe(edited, "car", 4);
  const even = boxes(ease(edited, "car", 3, "even"), "car").map((box) => centre(box));
  even.forEach(([x, y], frame) => {
    near(x, 0.2 + 0.05 * frame);
    near(y, 0.6);
  });
  const smooth = boxes(ease(edited, "car", 3, "smooth"), "car").map((box) => centre(box)[0]);
  near(smooth[4]!, 0.4);
  near(smooth[2]!, 0.2 + 0.4 * (3 / 16 - 2 / 64));
});

test("things and relations come and go together", () => {
  let edited = addThing(begin(), "dog");
  assert.deepEqual(edited.plan.depth_order, ["thing_1", "car", "flag", "tree"]);
  edited = addRelation(edited, { source: "thing_1", target: "car", kind: "dynamic", phrase: "follows" });
  assert.equal(edited.plan.graph.relations!.length, 2);
  edited = removeThing(edited, "car");
  assert.deepEqual(edited.plan.graph.relations, []);
  assert.equal(edited.plan.graph.instances.find((its) => its.id === "flag")!.parent, null);
  assert.deepEqual(edited.plan.tracks.map((track) => track.instance), ["tree", "flag", "thing_1"]);
  assert.deepEqual(moveInDepth(edited, "tree", -1).plan.depth_order, ["thing_1", "tree", "flag"]);
  assert.equal(moveInDepth(edited, "thing_1", -1), edited);
});

test("boxes stay inside the frame, in their own shape", () => {
  assert.deepEqual(inside([-0.1, 0.5, 0.1, 0.7]), [0, 0.5, 0.2, 0.7]);
  assert.deepEqual(inside([0, -0.5, 1, 1.5]), [0.25, 0, 0.75, 1]);
  assert.deepEqual(dragged([0.1, 0.1, 0.3, 0.2], "se", 0.2, 0, true), [0.1, 0.1, 0.5, 0.3]);
  assert.deepEqual(dragged([0.1, 0.1, 0.3, 0.2], "e", 2, 0, false), [0.1, 0.1, 1, 0.2]);
  assert.deepEqual(dragged([0.1, 0.1, 0.3, 0.2], "w", 2, 0, false), [0.29, 0.1, 0.3, 0.2]);
  near(iou([0, 0, 0.2, 0.2], [0.1, 0, 0.3, 0.2]), 1 / 3);
});

test("a rest on the way takes the share of its nearer end, all of it", () => {
  let edited = splitPhase(splitPhase(begin(), "car", 2), "car", 5);
  edited = holdStill(setState(edited, "car", 2, "motionless"), "car", 2);
  edited = { ...edited, keyframes: { car: [0] } };
  edited = setBox(edited, "car", 8, up(boxes(edited, "car")[8]!, 0.2));
  const tops = boxes(edited, "car").map((box) => box[1]);
  [0.5, 0.475, 0.4, 0.4, 0.4, 0.375, 0.35, 0.325, 0.3].forEach((top, frame) => near(tops[frame]!, top));
});

test("sides change by the same factor from frame to frame", () => {
  let edited = toggleKeyframe(begin(), "car", 0);
  edited = setBox(edited, "car", 8, [0.4, 0.2, 0.8, 0.6]);
  const middle = boxes(ease(edited, "car", 4, "even"), "car")[4]!;
  near(middle[2] - middle[0], 0.2 * Math.SQRT2);
  near(middle[3] - middle[1], 0.2 * Math.SQRT2);
});
