/** A job: how far it is, what of its plan is seen, and other videos of the same plan beside it. */

import { useEffect, useRef } from "preact/hooks";
import { type Job, hasEnded } from "./api.ts";
import { timeOf } from "./playback.ts";
import {
  backbones,
  busy,
  cancel,
  compareGuidance,
  download,
  frame,
  go,
  isGuided,
  jobPlan,
  jobs,
  mainJob,
  moreSeeds,
  open,
  playing,
  route,
  useSettingsOf,
  videoOf,
} from "./state.ts";

export function meanIou(job: Job): string | null {
  const seen = job.diagnostics?.adherence;
  if (!seen || seen.length === 0) return null;
  const total = seen.reduce((sum, its) => sum + (its.detected ? its.mean_iou : 0), 0);
  return (total / seen.length).toFixed(2);
}

export function Progress({ job }: { job: Job }) {
  const percent = Math.round(job.progress * 100);
  const left = job.seconds_left === null ? "" : `, about ${Math.ceil(job.seconds_left)} s left`;
  const before = job.queue_position ? `, ${job.queue_position} before it` : "";
  const steps = job.status === "running" && job.stage === "sampling" ? `, step ${job.step} of ${job.steps}` : "";
  const workers = backbones.value.find((its) => its.spec.name === job.settings.backbone)?.workers;
  const nobody = job.status === "queued" && workers === 0 ? `, and no worker is up for ${job.settings.backbone}` : "";
  return (
    <div class={`progress ${job.status}`}>
      <div class="line">
        <b data-status>{job.status}</b>
        <span class="faint">
          {hasEnded(job) ? "" : `${job.status === "queued" ? "for " : ""}${job.stage ?? ""}${before}${steps}${left}${nobody}`}
          {job.waiting_for ? `, waits: ${job.waiting_for.message}` : ""}
          {job.error ? job.error.message : ""}
        </span>
        <span class="spacer" />
        {!hasEnded(job) && (
          <button type="button" class="danger" disabled={job.status === "canceling"} onClick={() => void cancel(job.id)}>
            Cancel
          </button>
        )}
      </div>
      {!hasEnded(job) && <progress max={100} value={percent} aria-label={`${percent} %`} />}
    </div>
  );
}

export function Result() {
  const job = mainJob.value;
  if (job === null) return null;
  const done = job.status === "succeeded";
  const idle = busy.value === null && jobPlan.value !== null;
  return (
    <section class="panel result" aria-label="Result">
      {!done && <Progress job={job} />}
      {done && (
        <>
          <div class="line">
            <b data-status>{job.status}</b>
            <span class="faint">
              seed {job.settings.seed}, {isGuided(job) ? "guided" : "guidance off"}
            </span>
            <span class="spacer" />
            <Downloads id={job.id} />
          </div>
          <Seen job={job} />
          <div class="line">
            <button type="button" onClick={() => useSettingsOf(job)}>
              Again with this seed
            </button>
            <button type="button" disabled={!idle} onClick={() => void compareGuidance()}>
              {isGuided(job) ? "Beside it without guidance" : "Beside it with guidance"}
            </button>
            <button type="button" disabled={!idle} onClick={() => void moreSeeds(3)}>
              Three more seeds
            </button>
          </div>
        </>
      )}
      {route.value.others.length > 0 && (
        <div class="grid">
          {[job.id, ...route.value.others].map((id) => (
            <Cell key={id} id={id} main={id === job.id} />
          ))}
        </div>
      )}
    </section>
  );
}

export function Downloads({ id }: { id: string }) {
  return Object.entries({ content: "MP4", plan: "Plan", manifest: "Manifest" } as const).map(([what, name]) => (
    <button type="button" onClick={() => void download(id, what as "content")}>
      {name}
    </button>
  ));
}

/** How well each thing is seen where it was planned. */
function Seen({ job }: { job: Job }) {
  const seen = job.diagnostics?.adherence;
  if (!seen) return <p class="faint">This model's videos cannot be searched for the plan's things.</p>;
  return (
    <ul class="seen">
      {seen.map((its) => (
        <li>
          <span>{its.instance}</span>
          <meter min={0} max={1} low={0.3} high={0.5} optimum={1} value={its.detected ? its.mean_iou : 0} />
          <span>{its.detected ? `IoU ${its.mean_iou.toFixed(2)}` : "not seen"}</span>
        </li>
      ))}
      {job.diagnostics?.notes?.map((note) => <li class="faint">{note}</li>)}
    </ul>
  );
}

function Cell({ id, main }: { id: string; main: boolean }) {
  const job = jobs.value.get(id);
  const others = route.value.others;
  if (job === undefined) return <figure class="cell" />;
  const url = videoOf(job);
  return (
    <figure class={`cell ${main ? "selected" : ""}`} data-cell={id}>
      <div class="picture" style={{ aspectRatio: `${job.settings.width} / ${job.settings.height}` }}>
        {url === null ? <Progress job={job} /> : <Beside url={url} fps={job.settings.fps} />}
      </div>
      <figcaption>
        {isGuided(job) ? "guided" : "no guidance"}, seed {job.settings.seed}
        {meanIou(job) !== null && <b>IoU {meanIou(job)}</b>}
        {!main && (
          <>
            <button type="button" class="quiet" onClick={() => open(id, [route.value.job!, ...others.filter((each) => each !== id)])}>
              To the stage
            </button>
            <button
              type="button"
              class="quiet"
              aria-label="Not beside it"
              onClick={() => go(route.value.job, others.filter((each) => each !== id))}
            >
              ×
            </button>
          </>
        )}
      </figcaption>
    </figure>
  );
}

/** Shows the frame of the stage. */
function Beside({ url, fps }: { url: string; fps: number }) {
  const element = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const video = element.current!;
    if (playing.value) void video.play().catch(() => {});
    else {
      video.pause();
      video.currentTime = timeOf(frame.value, fps);
    }
  }, [playing.value, playing.value ? -1 : frame.value]);
  return <video ref={element} src={url} muted loop playsInline preload="auto" />;
}
