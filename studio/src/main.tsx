/** The page, put together. */

import { render } from "preact";
import { apiKey, keyWanted, setApiKey } from "./api.ts";
import { Gallery } from "./gallery.tsx";
import { Graph } from "./graph.tsx";
import { Inspector } from "./inspector.tsx";
import { listenToKeys } from "./keyboard.ts";
import { Progress, Result } from "./result.tsx";
import { PromptForm } from "./prompt.tsx";
import { Stage } from "./stage.tsx";
import { begin, busy, closePlan, load, mainJob, message, plan } from "./state.ts";
import "./style.css";
import { Timeline } from "./timeline.tsx";

function Page() {
  const job = mainJob.value;
  return (
    <>
      <header>
        <button class="brand" onClick={closePlan} aria-label="Motion studio: begin anew">
          <span class="mark" aria-hidden="true" /> Motion studio
        </button>
        <span class="spacer" />
        <Key />
        <a href="docs">API</a>
      </header>
      <main>
        {message.value !== null && (
          <p class="message" role="alert">
            {message.value}
            <button class="quiet" aria-label="Close" onClick={() => (message.value = null)}>
              ×
            </button>
          </p>
        )}
        <PromptForm />
        <p class="busy" role="status">
          {busy.value}
        </p>
        {job !== null && plan.value === null && <Progress job={job} />}
        {plan.value !== null && (
          <div class="workspace">
            <div class="column">
              <Stage />
              <Timeline />
              <Result />
            </div>
            <div class="column">
              <Graph />
              <Inspector />
            </div>
          </div>
        )}
        <Gallery />
      </main>
    </>
  );
}

function Key() {
  const set = apiKey.value !== "";
  if (!keyWanted.value && !set)
    return (
      <details class="key">
        <summary>Key</summary>
        <KeyField />
      </details>
    );
  return keyWanted.value ? (
    <KeyField />
  ) : (
    <button
      class="quiet"
      onClick={() => {
        setApiKey("");
        closePlan();
      }}
    >
      Forget the key
    </button>
  );
}

function KeyField() {
  const take = (event: Event) => {
    event.preventDefault();
    setApiKey(String(new FormData(event.currentTarget as HTMLFormElement).get("key")));
    void load();
  };
  return (
    <form class="keyfield" onSubmit={take}>
      <input name="key" type="password" autocomplete="off" placeholder="API key: mfv_…" aria-label="API key" required />
      <button>Use</button>
    </form>
  );
}

render(<Page />, document.getElementById("studio")!);
listenToKeys();
begin();
