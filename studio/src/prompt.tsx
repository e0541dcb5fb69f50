/** The prompt and the settings of the next video. */

import {
  backbone,
  backbones,
  busy,
  closePlan,
  differs,
  makeFromPlan,
  makeFromPrompt,
  openPlanFile,
  plan,
  prompt,
  randomSeed,
  seePlan,
  settings,
  wrong,
} from "./state.ts";
import type { Settings } from "./state.ts";

const EXAMPLES = [
  "a red car drives to the right while a tree stands still",
  "a yellow cat walks to the left on the grass",
  "a truck passes by, with a bird perching in a tree behind",
];

export function PromptForm() {
  const its = plan.value;
  const fresh = its === null || its.prompt !== prompt.value.trim();
  const idle = busy.value === null;
  const submit = (event: Event) => {
    event.preventDefault();
    void (fresh ? seePlan() : makeFromPlan());
  };
  return (
    <form class="prompt" onSubmit={submit}>
      <div class="line">
        <textarea
          aria-label="Prompt"
          rows={1}
          maxLength={2000}
          placeholder="What moves, and what stands still?"
          value={prompt.value}
          onInput={(event) => (prompt.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey) submit(event);
          }}
        />
        <div class="actions">
          {fresh ? (
            <>
              <button class="primary" disabled={!idle || prompt.value.trim() === ""}>
                See the plan
              </button>
              <button type="button" disabled={!idle || prompt.value.trim() === ""} onClick={() => void makeFromPrompt()}>
                Make it right away
              </button>
            </>
          ) : (
            <>
              <button class="primary" disabled={!idle || wrong.value.length > 0}>
                {differs.value ? "Make the video" : "Make it again"}
              </button>
              <button type="button" disabled={!idle} onClick={() => void seePlan()}>
                Plan anew
              </button>
            </>
          )}
        </div>
      </div>
      {its === null && (
        <p class="examples">
          Try{" "}
          {EXAMPLES.map((text) => (
            <button type="button" class="quiet" onClick={() => (prompt.value = text)}>
              {text}
            </button>
          ))}
        </p>
      )}
      <SettingsLine />
    </form>
  );
}

function SettingsLine() {
  const its = settings.value;
  const set = (changes: Partial<Settings>) => (settings.value = { ...its, ...changes });
  const spec = backbone.value?.spec;
  return (
    <div class="settings">
      <label>
        Model
        <select value={spec?.name ?? ""} onChange={(event) => set({ backbone: event.currentTarget.value, steps: null, besides: {} })}>
          {backbones.value.filter(({ spec }) => spec.image !== "required").map((each) => (
            <option value={each.spec.name}>
              {each.spec.name}
              {each.workers === 0 ? " (no worker)" : ""}
            </option>
          ))}
        </select>
      </label>
      <label>
        Seed
        <input
          type="number"
          min={0}
          max={2 ** 32 - 1}
          value={its.seed}
          onChange={(event) => set({ seed: Number(event.currentTarget.value) })}
        />
      </label>
      <button type="button" class="quiet" aria-label="Another seed" title="Another seed" onClick={() => set({ seed: randomSeed() })}>
        ⟳
      </button>
      <label>
        Steps
        <input
          type="number"
          min={1}
          max={spec?.maximum_steps}
          placeholder={String(spec?.defaults.steps ?? "")}
          value={its.steps ?? ""}
          onChange={(event) => set({ steps: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) })}
        />
      </label>
      <label class="check">
        <input type="checkbox" checked={its.guided} onChange={(event) => set({ guided: event.currentTarget.checked })} />
        Guidance
      </label>
      <span class="spacer" />
      <label class="button quiet">
        Open a plan
        <input
          type="file"
          accept="application/json,.json"
          onChange={async (event) => {
            const field = event.currentTarget;
            const file = field.files?.[0];
            if (file !== undefined) await openPlanFile(await file.text());
            field.value = ""; // so that the same file can be opened again
          }}
        />
      </label>
      {plan.value !== null && (
        <button type="button" class="quiet" onClick={closePlan}>
          Begin anew
        </button>
      )}
    </div>
  );
}
