/** What the page knows, and what can be done: components read signals and call these functions. */

import { batch, computed, effect, signal, untracked } from "@preact/signals";
import * as api from "./api.ts";
import type { Backbone, Job, Reason } from "./api.ts";
import { type History, begun, changed, redone, undone } from "./history.ts";
import { type Breach, type Edited, type Plan, breaches, framesOf, refusals } from "./plan-editing.ts";
import { keep, kept, forget } from "./keeping.ts";

const MAXIMUM_SEED = 2 ** 32 - 1;

export interface Settings {
  backbone: string;
  seed: number;
  /** null: the backbone's own. */
  steps: number | null;
  guided: boolean;
  /** What a job that was opened had besides: its size, candidates, and guidance of its own. */
  besides: Partial<api.JobRequest>;
}

export const backbones = signal<Backbone[]>([]);
export const prompt = signal("");
export const settings = signal<Settings>({
  backbone: "",
  seed: randomSeed(),
  steps: null,
  guided: true,
  besides: {},
});
export const message = signal<string | null>(null);
export const busy = signal<string | null>(null);

/** The job in the address, and those it is compared with. */
export const route = signal<{ job: string | null; others: string[] }>({ job: null, others: [] });
export const jobs = signal<ReadonlyMap<string, Job>>(new Map());
/** Increases when jobs come, go or end. */
export const jobsChanged = signal(0);

export const history = signal<History<Edited> | null>(null);
/** While a box is dragged. */
export const draft = signal<Edited | null>(null);
export const reasons = signal<Reason[]>([]);
/** The plan of the job in the address. */
export const jobPlan = signal<Plan | null>(null);

export const frame = signal(0);
export const playing = signal(false);
/** The things that are moved and removed together; the last one is looked at. */
export const selection = signal<string[]>([]);
export const selected = computed<string | null>(() => selection.value.at(-1) ?? null);
export const shown = signal({ planned: true, found: true, video: true, onion: true, snap: true });

export const edited = computed<Edited | null>(() => draft.value ?? history.value?.present ?? null);
export const plan = computed<Plan | null>(() => edited.value?.plan ?? null);
export const frames = computed(() => (plan.value === null ? 1 : framesOf(plan.value)));
/** What the API did not take of a plan. */
const refused = signal<{ plan: Plan; breaches: Breach[] } | null>(null);
export const wrong = computed<Breach[]>(() => {
  if (plan.value === null) return [];
  return [...breaches(plan.value), ...(refused.value?.plan === plan.value ? refused.value.breaches : [])];
});
export const mainJob = computed<Job | null>(() => jobs.value.get(route.value.job ?? "") ?? null);
export const differs = computed(() => plan.value !== jobPlan.value && JSON.stringify(plan.value) !== JSON.stringify(jobPlan.value));
export const backbone = computed<Backbone | null>(
  () =>
    backbones.value.find((its) => its.spec.name === settings.value.backbone) ??
    backbones.value.find((its) => its.is_default) ??
    null,
);
/** Of the picture: pixels, and frames a second. */
export const format = computed(() => {
  const of = mainJob.value?.settings ?? backbone.value?.spec.defaults;
  return { width: of?.width ?? 96, height: of?.height ?? 64, fps: of?.fps ?? 8 };
});

export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** Does it, and shows what went wrong. */
export async function attempt(what: string, action: () => Promise<void>): Promise<void> {
  busy.value = what;
  message.value = null;
  try {
    await action();
  } catch (error) {
    message.value = error instanceof Error ? error.message : String(error);
  } finally {
    busy.value = null;
  }
}

// the plan

function take(its: History<Edited>, why: Reason[]): void {
  batch(() => {
    history.value = its;
    reasons.value = why;
    draft.value = null;
    selection.value = [];
    keepSelection();
    frame.value = Math.min(frame.value, frames.value - 1);
    playing.value = false;
  });
}

const asPlanned = (its: Plan): History<Edited> => begun({ plan: its, keyframes: {} });

export function goTo(its: number): void {
  playing.value = false;
  frame.value = Math.max(0, Math.min(its, frames.value - 1));
}

/** `more`: beside those that are selected, or no longer. */
export function select(id: string | null, more = false): void {
  const others = selection.value.filter((its) => its !== id);
  if (id === null) selection.value = [];
  else if (!more) selection.value = [id];
  else selection.value = others.length < selection.value.length ? others : [...others, id];
}

/** `of`: changes of the same are undone together. */
export function change(edit: (edited: Edited) => Edited, of: string | null = null): void {
  const now = history.value;
  if (now === null) return;
  history.value = changed(now, edit(now.present), of);
  keepSelection();
}

export function commitDraft(): void {
  const its = draft.value;
  draft.value = null;
  if (its !== null) change(() => its);
}

export function undo(): void {
  if (history.value !== null) history.value = undone(history.value);
  keepSelection();
}

export function redo(): void {
  if (history.value !== null) history.value = redone(history.value);
  keepSelection();
}

function keepSelection(): void {
  const ids = plan.value?.tracks.map((its) => its.instance) ?? [];
  const still = selection.value.filter((id) => ids.includes(id));
  selection.value = still.length > 0 ? still : ids.slice(0, 1);
}

export function seePlan(): Promise<void> {
  return attempt("Planning …", async () => {
    const { plan: its, reasons: why } = await api.explain({ prompt: prompt.value, ...wish() });
    frame.value = 0;
    show(its, why ?? []);
  });
}

/** A plan of no job. */
function show(its: Plan, why: Reason[]): void {
  batch(() => {
    take(asPlanned(its), why);
    prompt.value = its.prompt;
    jobPlan.value = null;
    go(null);
  });
}

/** Why the labels of a job's plan are as they are: asked of the planner again, with the job's own seed. */
export function askWhy(): Promise<void> {
  return attempt("Asking the planner …", async () => {
    const its = plan.value!;
    const { seed, backbone: name } = mainJob.value?.settings ?? { seed: settings.value.seed, backbone: settings.value.backbone };
    reasons.value = (await api.explain({ prompt: its.prompt, seed, backbone: name, frames: framesOf(its) })).reasons ?? [];
  });
}

export function openPlanFile(text: string): Promise<void> {
  return attempt("Opening …", async () => {
    const read = JSON.parse(text) as Plan;
    const its = await api.explain({ plan: read, ...wish() }).catch((error: unknown) => {
      if (error instanceof api.Refused && error.violations.some(isOfALabel)) return { plan: read };
      throw error;
    });
    show(its.plan, []);
  });
}

/** Then the plan is whole otherwise, and can be mended here: the API looks at it last. */
const isOfALabel = ({ message: told }: api.Violation): boolean => /^track '\w+': \w+ in frames /.test(told);

export function closePlan(): void {
  batch(() => {
    forget(null);
    forgetPlan();
    go(null);
  });
}

// jobs

function wish(): Partial<api.JobRequest> {
  const { backbone: name, seed, steps, guided, besides } = settings.value;
  return {
    ...besides,
    ...(name === "" ? {} : { backbone: name }),
    seed,
    ...(steps === null ? {} : { steps }),
    ...(guided ? {} : { guidance: "off" as const }),
  };
}

async function submit(request: Partial<api.JobRequest>): Promise<Job> {
  const job = await api.submit(request);
  learn(job);
  jobsChanged.value++;
  return job;
}

/** The prompt as it is: planned and rendered. */
export function makeFromPrompt(): Promise<void> {
  return attempt("Submitting …", async () => {
    const job = await submit({ prompt: prompt.value, ...wish() });
    batch(() => {
      forget(route.value.job);
      forgetPlan();
      go(job.id);
    });
  });
}

/** The plan as it is edited. */
export function makeFromPlan(): Promise<void> {
  return attempt("Submitting …", async () => {
    const its = plan.value!;
    const job = await submit({ plan: its, ...wish() }).catch((error: unknown) => {
      if (error instanceof api.Refused) refused.value = { plan: its, breaches: refusals(its, error.violations) };
      throw error;
    });
    batch(() => {
      forget(route.value.job);
      jobPlan.value = its;
      go(job.id, mainJob.value?.status === "succeeded" ? [mainJob.value.id] : []);
    });
  });
}

/** The same plan and settings as the job in the address, but for these; side by side with it. */
async function makeBeside(changes: Partial<api.JobRequest>[]): Promise<void> {
  const job = mainJob.value!;
  const { backbone: name, steps, frames: count, width, height, fps, guidance_scale, guidance, seed } = job.settings;
  const same = { backbone: name, steps, frames: count, width, height, fps, guidance_scale, guidance, seed, image: job.image ?? null };
  const its = jobPlan.value!;
  const made = [];
  for (const change of changes) made.push((await submit({ plan: its, ...same, ...change })).id);
  go(job.id, [...route.value.others, ...made]);
}

export function compareGuidance(): Promise<void> {
  const other = isGuided(mainJob.value!) ? "off" : null; // null: the model's own
  return attempt("Submitting …", () => makeBeside([{ guidance: other }]));
}

export function moreSeeds(count: number): Promise<void> {
  const { seed } = mainJob.value!.settings;
  const taken = route.value.others.map((id) => jobs.value.get(id)?.settings.seed ?? 0);
  const next: Partial<api.JobRequest>[] = [];
  for (let add = 1; next.length < count; add++) {
    const other = (seed + add) % (MAXIMUM_SEED + 1);
    if (!taken.includes(other)) next.push({ seed: other });
  }
  return attempt("Submitting …", () => makeBeside(next));
}

/** Seed and settings of a job are those of the next one. */
export function useSettingsOf(job: Job): void {
  const { backbone: name, seed, steps, candidates, width, height, fps, guidance_scale, guidance } = job.settings;
  const guided = isGuided(job);
  settings.value = {
    backbone: name,
    seed,
    steps,
    guided,
    besides: { width, height, fps, guidance_scale, candidates, ...(guided ? { guidance } : {}) },
  };
}

/** As the API's GuidanceParameters.is_off, for what this page can ask for. */
export const isGuided = ({ settings: { guidance } }: Job): boolean => guidance?.strength !== 0 || guidance.regional !== false;

export function cancel(id: string): Promise<void> {
  return attempt("Canceling …", async () => learn(await api.cancel(id)));
}

export function download(id: string, what: Parameters<typeof api.download>[1]): Promise<void> {
  return attempt("Fetching …", () => api.download(id, what));
}

export function removeJob(id: string): Promise<void> {
  return attempt("Deleting …", async () => {
    await api.remove(id);
    jobsChanged.value++;
    if (route.value.job === id) closePlan();
    else if (route.value.others.includes(id)) go(route.value.job, route.value.others.filter((its) => its !== id));
  });
}

function learn(job: Job): void {
  const before = jobs.value.get(job.id);
  jobs.value = new Map(jobs.value).set(job.id, job);
  if (api.hasEnded(job) && before !== undefined && !api.hasEnded(before)) jobsChanged.value++;
}

const following = new Map<string, () => void>();

/** Whatever is in the address is loaded and followed, nothing else is. */
effect(() => {
  const { job, others } = route.value;
  const wanted = new Set(job === null ? [] : [job, ...others]);
  for (const [id, stop] of following)
    if (!wanted.has(id)) {
      stop();
      following.delete(id);
    }
  for (const id of wanted) if (!following.has(id)) watch(id);
});

function watch(id: string): void {
  let stop = (): void => {};
  let stopped = false;
  following.set(id, () => {
    stopped = true;
    stop();
  });
  const told = (job: Job): void => {
    if (!stopped) learn(job);
  };
  api.job(id).then(
    (job) => {
      told(job);
      if (!stopped) stop = api.follow(job, told);
    },
    (error: Error) => {
      message.value = error.message;
      following.delete(id);
    },
  );
}

effect(() => {
  const job = mainJob.value;
  if (job !== null) untracked(() => void loadPlan(job));
});

let planOf: string | null = null;

/** The plan of the job in the address: there as soon as it is planned. */
async function loadPlan(job: Job): Promise<void> {
  if (planOf === job.id) return;
  useSettingsOf(job);
  prompt.value = job.prompt;
  const neverPlanned = job.planner !== null && job.step === 0 && (job.status === "canceled" || job.status === "failed");
  if (job.stage === "planning" || neverPlanned) return;
  planOf = job.id;
  if (jobPlan.value !== null) return; // it was sent from here
  try {
    const its = await api.plan(job.id);
    if (route.value.job !== job.id) return;
    batch(() => {
      jobPlan.value = its;
      if (!restore(job.id)) take(asPlanned(its), []);
    });
  } catch (error) {
    if (job.status === "succeeded") message.value = (error as Error).message;
    else if (!api.hasEnded(job)) planOf = null;
  }
}

export const videoOf = (job: Job | null): string | null => (job?.status === "succeeded" ? api.urlOf(job, "content") : null);

// what was edited outlives a reload

/** Of a job, or of none, as it was left; whether there was any. */
function restore(job: string | null): boolean {
  const its = kept(job);
  if (its === null) return false;
  prompt.value = its.prompt;
  settings.value = its.settings;
  if (its.history !== null) take(its.history, its.reasons);
  return true;
}

function keepWork(): void {
  const [job, its] = [route.value.job, history.value];
  const work = { prompt: prompt.value, settings: settings.value, reasons: reasons.value, history: its };
  if (job === null) (its === null && prompt.value === "" ? forget(job) : keep(job, work));
  else if (its !== null) (its.past.length + its.future.length === 0 ? forget(job) : keep(job, work));
}

// the address

export function pathOf(job: string | null, others: string[] = []): string {
  if (job === null) return "./";
  return `studio/jobs/${job}${others.length > 0 ? `?with=${others.join(",")}` : ""}`;
}

/** Shows a job, as if its address had been opened; `others`: beside it. */
export function open(id: string, others: string[] = []): void {
  batch(() => {
    forgetPlan();
    go(id, others);
  });
  window.scrollTo({ top: 0 });
}

function forgetPlan(): void {
  batch(() => {
    history.value = null;
    prompt.value = "";
    settings.value = { ...settings.value, besides: {} };
    jobPlan.value = null;
    reasons.value = [];
    planOf = null;
  });
}

export function go(job: string | null, others: string[] = []): void {
  const url = new URL(pathOf(job, others), document.baseURI);
  if (url.href !== location.href) window.history.pushState(null, "", url);
  readAddress();
}

function readAddress(): void {
  const job = /\/studio\/jobs\/([0-9a-f]{32})$/.exec(location.pathname)?.[1] ?? null;
  const others = (new URLSearchParams(location.search).get("with") ?? "").split(",");
  batch(() => {
    if (job !== route.value.job) planOf = null;
    route.value = { job, others: job === null ? [] : others.filter((id) => /^[0-9a-f]{32}$/.test(id)) };
    if (job === null && history.value === null) restore(null);
  });
}

/** Again with every other key. */
export function load(): Promise<void> {
  readAddress();
  return attempt("Loading …", async () => {
    backbones.value = await api.backbones();
  });
}

export function begin(): void {
  window.addEventListener("popstate", () =>
    batch(() => {
      const before = route.value.job;
      readAddress();
      if (route.value.job === before) return;
      forgetPlan();
      readAddress();
    }),
  );
  void load();
  effect(keepWork);
}
