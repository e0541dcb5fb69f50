/** The selected thing: what it is, what it does, how it is related, and why the planner thinks so. */

import {
  type Relation,
  type State,
  addRelation,
  addThing,
  ease,
  freeId,
  instanceOf,
  moveInDepth,
  phaseAt,
  relationsOf,
  removeRelation,
  removeThing,
  setInstance,
  setRelation,
  setState,
  splitPhase,
  stateOf,
  toggleKeyframe,
  trackOf,
} from "./plan-editing.ts";
import { save } from "./api.ts";
import { askWhy, change, edited, frame, history, plan, reasons, redo, select, selected, selection, undo } from "./state.ts";
import { STATE_NAMES } from "./timeline.tsx";

export function Inspector() {
  const id = selected.value;
  return (
    <section class="panel inspector" aria-label="Selected thing">
      <div class="line">
        <button type="button" disabled={history.value!.past.length === 0} onClick={undo} title="Ctrl+Z">
          Undo
        </button>
        <button type="button" disabled={history.value!.future.length === 0} onClick={redo} title="Ctrl+Shift+Z">
          Redo
        </button>
        <span class="spacer" />
        <button type="button" onClick={add} title="N">
          Add a thing
        </button>
        <button
          type="button"
          onClick={() => save(URL.createObjectURL(new Blob([JSON.stringify(plan.value, null, 1)], { type: "application/json" })), "plan.json")}
        >
          Save the plan
        </button>
      </div>
      {id === null ? <p class="faint">Select a thing: on the stage, in the graph or on the timeline.</p> : <Thing key={id} id={id} />}
      <Keys />
    </section>
  );
}

export function add(): void {
  const id = freeId(plan.value!);
  change((its) => addThing(its, "new thing"));
  select(id);
}

export function removeSelected(): void {
  const ids = selection.value;
  change((its) => ids.reduce(removeThing, its));
}

function Thing({ id }: { id: string }) {
  const its = plan.value!;
  const instance = instanceOf(its, id);
  const phase = phaseAt(trackOf(its, id), frame.value);
  const pinned = (edited.value!.keyframes[id] ?? []).includes(frame.value);
  const depth = its.depth_order.indexOf(id);
  return (
    <>
      <div class="fields">
        <label>
          Name
          <input
            value={instance.name}
            maxLength={120}
            onInput={(event) => change((it) => setInstance(it, id, { name: event.currentTarget.value }), `name ${id}`)}
          />
        </label>
        <label>
          What is seen in its box
          <textarea
            rows={2}
            maxLength={400}
            value={instance.description}
            onInput={(event) => change((it) => setInstance(it, id, { description: event.currentTarget.value }), `description ${id}`)}
          />
        </label>
        <label>
          Frames {phase.start} to {phase.end}
          <select value={stateOf(phase)} onChange={(event) => change((it) => setState(it, id, frame.value, event.currentTarget.value as State))}>
            {Object.entries(STATE_NAMES).map(([state, name]) => (
              <option value={state}>{name}</option>
            ))}
          </select>
        </label>
      </div>
      <div class="line">
        <button type="button" disabled={frame.value === phase.start} onClick={() => change((it) => splitPhase(it, id, frame.value))}>
          New phase from here
        </button>
        <button type="button" aria-pressed={pinned} onClick={() => change((it) => toggleKeyframe(it, id, frame.value))} title="K">
          {pinned ? "◆ Keyframe" : "◇ Keyframe"}
        </button>
        <button type="button" title="Straight between the keyframes, at an even speed" onClick={() => change((it) => ease(it, id, frame.value, "even"))}>
          Even
        </button>
        <button type="button" title="Straight between the keyframes, with a soft beginning and end" onClick={() => change((it) => ease(it, id, frame.value, "smooth"))}>
          Smooth
        </button>
      </div>
      <div class="line">
        <span class="faint">
          {depth === 0 ? "nearest" : depth === its.depth_order.length - 1 ? "farthest" : `${depth + 1} from the front`}
        </span>
        <button type="button" disabled={depth === 0} onClick={() => change((it) => moveInDepth(it, id, -1))} title="]">
          Nearer
        </button>
        <button type="button" disabled={depth === its.depth_order.length - 1} onClick={() => change((it) => moveInDepth(it, id, 1))} title="[">
          Farther
        </button>
        <span class="spacer" />
        <button type="button" class="danger" disabled={its.tracks.length === 1} onClick={removeSelected} title="Delete">
          {selection.value.length > 1 ? `Remove ${selection.value.length}` : "Remove"}
        </button>
      </div>
      <Relations id={id} />
      <Why id={id} />
    </>
  );
}

function Relations({ id }: { id: string }) {
  const its = plan.value!;
  const others = its.graph.instances.filter((each) => each.id !== id);
  const own = relationsOf(its).map((relation, index) => ({ relation, index })).filter(({ relation }) => relation.source === id);
  const take = (event: Event) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const given = new FormData(form);
    const phrase = String(given.get("phrase")).trim();
    if (phrase === "") return;
    const kind = given.get("kind") as Relation["kind"];
    change((it) => addRelation(it, { source: id, target: String(given.get("target")), kind, phrase }));
    form.reset();
  };
  return (
    <div class="relations">
      {own.map(({ relation, index }) => (
        <div class="line">
          <input
            aria-label="Relation"
            value={relation.phrase}
            maxLength={120}
            onInput={(event) => change((it) => setRelation(it, index, { ...relation, phrase: event.currentTarget.value }), `relation ${index}`)}
          />
          <Kind value={relation.kind} onChange={(kind) => change((it) => setRelation(it, index, { ...relation, kind }))} />
          <select
            aria-label="Related to"
            value={relation.target}
            onChange={(event) => change((it) => setRelation(it, index, { ...relation, target: event.currentTarget.value }))}
          >
            {others.map((each) => (
              <option value={each.id}>{each.name}</option>
            ))}
          </select>
          <button type="button" class="quiet" aria-label="Remove the relation" onClick={() => change((it) => removeRelation(it, index))}>
            ×
          </button>
        </div>
      ))}
      {others.length > 0 && (
        <form class="line" onSubmit={take}>
          <input name="phrase" aria-label="New relation" placeholder="passes by, next to …" maxLength={120} />
          <Kind />
          <select name="target" aria-label="Related to">
            {others.map((each) => (
              <option value={each.id}>{each.name}</option>
            ))}
          </select>
          <button>Relate</button>
        </form>
      )}
    </div>
  );
}

function Kind({ value, onChange }: { value?: Relation["kind"]; onChange?: (kind: Relation["kind"]) => void }) {
  return (
    <select name="kind" aria-label="Kind" value={value} onChange={(event) => onChange?.(event.currentTarget.value as Relation["kind"])}>
      <option value="dynamic">dynamic</option>
      <option value="spatial">spatial</option>
    </select>
  );
}

function Why({ id }: { id: string }) {
  const own = reasons.value.filter((reason) => reason.instance === id);
  if (reasons.value.length === 0)
    return (
      <button type="button" class="quiet" onClick={() => void askWhy()}>
        Why is it planned so?
      </button>
    );
  return (
    <div class="why">
      <h3>Why</h3>
      {own.length === 0 && <p class="faint">The planner knows nothing of it: it was added here.</p>}
      <ul>
        {own.map((reason) => (
          <li>
            <b>{reason.decided}</b> {reason.why}
            {(reason.words?.length ?? 0) > 0 && <q>{reason.words!.join(" ")}</q>}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Keys() {
  return (
    <details class="keys">
      <summary>Keys</summary>
      <dl>
        <dt>Space</dt>
        <dd>play, pause</dd>
        <dt>, .</dt>
        <dd>frame before, after</dd>
        <dt>Tab</dt>
        <dd>next box</dd>
        <dt>Shift and click, Ctrl+A</dt>
        <dd>select more, all: they are moved and removed together</dd>
        <dt>Arrows</dt>
        <dd>move the boxes by 1 %, with Shift by 5 %; with Alt a box's right and lower edge</dd>
        <dt>K N Delete</dt>
        <dd>keyframe, new thing, remove</dd>
        <dt>[ ]</dt>
        <dd>farther, nearer</dd>
        <dt>Ctrl+Z, Ctrl+Shift+Z</dt>
        <dd>undo, redo</dd>
        <dt>Alt while dragging</dt>
        <dd>does not snap</dd>
      </dl>
    </details>
  );
}
