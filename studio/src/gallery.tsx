/** All jobs, the newest first. */

import { useEffect, useState } from "preact/hooks";
import * as api from "./api.ts";
import { type Job, hasEnded, urlOf } from "./api.ts";
import { Downloads, meanIou } from "./result.tsx";
import { jobsChanged, open, pathOf, removeJob, route } from "./state.ts";

const PAGE = 12;
const REFRESH_MS = 4000;

interface Found {
  jobs: Job[];
  next: string | null;
}

export function Gallery() {
  const [text, setText] = useState("");
  const [status, setStatus] = useState("");
  const [starts, setStarts] = useState<(string | null)[]>([null]);
  const [page, setPage] = useState<Found | null>(null);
  const [seen, setSeen] = useState(0);
  const [again, setAgain] = useState(0);
  const start = starts.at(-1)!;
  useEffect(() => {
    let stale = false;
    const tell = (count: number): boolean => {
      if (!stale) setSeen(count);
      return !stale;
    };
    tell(0);
    load(start, status, text, tell).then(
      (found) => stale || setPage(found),
      () => stale || setPage({ jobs: [], next: null }),
    );
    return () => {
      stale = true;
    };
  }, [start, status, text, jobsChanged.value, api.apiKey.value, again]);
  const unfinished = page?.jobs.some((job) => !hasEnded(job)) ?? false;
  useEffect(() => {
    if (!unfinished) return;
    const timer = setInterval(() => document.hidden || setAgain((count) => count + 1), REFRESH_MS);
    return () => clearInterval(timer);
  }, [unfinished]);
  const search = (change: () => void) => {
    change();
    setStarts([null]);
  };
  if (page === null) return null;
  const none = page.jobs.length === 0 && text === "" && status === "" && starts.length === 1;
  return (
    <section class="gallery" aria-label="Jobs">
      <div class="line">
        <h2>Jobs</h2>
        <span class="spacer" />
        <span class="faint" role="status">
          {seen > 0 && `${seen} jobs looked through`}
        </span>
        <input
          type="search"
          aria-label="Search prompts"
          placeholder="Search prompts"
          value={text}
          onInput={(event) => search(() => setText(event.currentTarget.value))}
        />
        <select aria-label="Status" value={status} onChange={(event) => search(() => setStatus(event.currentTarget.value))}>
          <option value="">every status</option>
          {["queued", "running", "succeeded", "failed", "canceled"].map((each) => (
            <option value={each}>{each}</option>
          ))}
        </select>
      </div>
      {none && !api.keyWanted.value && <p class="faint">No jobs yet.</p>}
      {!none && page.jobs.length === 0 && <p class="faint">None found.</p>}
      <div class="cards">
        {page.jobs.map((job) => (
          <Card key={job.id} job={job} />
        ))}
      </div>
      {(starts.length > 1 || page.next !== null) && (
        <div class="line pages">
          <button type="button" disabled={starts.length === 1} onClick={() => setStarts(starts.slice(0, -1))}>
            ‹ Newer
          </button>
          <span class="faint">page {starts.length}</span>
          <button type="button" disabled={page.next === null} onClick={() => setStarts([...starts, page.next])}>
            Older ›
          </button>
        </div>
      )}
    </section>
  );
}

/** A page of jobs; with a text, as many pages of the API's, which knows no search, as it takes to find enough.
 * `tell`: how many were looked through; whether to go on. */
async function load(after: string | null, status: string, text: string, tell: (seen: number) => boolean): Promise<Found> {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return api.jobs(after, status, PAGE);
  const found: Job[] = [];
  let from = after;
  for (let seen = 0; ; ) {
    const page = await api.jobs(from, status, 100);
    for (const job of page.jobs) {
      if (job.prompt.toLowerCase().includes(wanted)) found.push(job);
      if (found.length === PAGE) return { jobs: found, next: job.id === page.jobs.at(-1)?.id ? page.next : job.id };
    }
    seen += page.jobs.length;
    if (!tell(seen) || page.next === null) return { jobs: found, next: null };
    from = page.next;
  }
}

/** The time; of another day, the day too. */
function when(text: string): string {
  const at = new Date(text);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

function Card({ job }: { job: Job }) {
  const [sure, setSure] = useState(false);
  const done = job.status === "succeeded";
  const iou = meanIou(job);
  return (
    <article class={`card ${route.value.job === job.id ? "selected" : ""}`} data-job={job.id}>
      <a
        href={pathOf(job.id)}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          open(job.id);
        }}
      >
        <div class="picture">
          {done ? (
            <img src={urlOf(job, "preview")} alt="" loading="lazy" />
          ) : (
            <span class="faint">{hasEnded(job) ? job.status : `${Math.round(job.progress * 100)} %`}</span>
          )}
        </div>
        <p>{job.prompt}</p>
      </a>
      <div class="line">
        <span class={`badge ${job.status}`}>{job.status}</span>
        {iou !== null && <span class="faint">IoU {iou}</span>}
        <span class="spacer" />
        <span class="faint">{when(job.created_at)}</span>
      </div>
      <div class="line">
        {done && <Downloads id={job.id} />}
        <span class="spacer" />
        {hasEnded(job) && (
          <button
            type="button"
            class={sure ? "danger" : "quiet"}
            onBlur={() => setSure(false)}
            onClick={() => (sure ? void removeJob(job.id) : setSure(true))}
          >
            {sure ? "Really?" : "Delete"}
          </button>
        )}
      </div>
    </article>
  );
}
