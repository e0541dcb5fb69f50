/** The generator's API, as its own OpenAPI document types it.  Nothing here calls another origin. */

import { signal } from "@preact/signals";
import type { components } from "./openapi.d.ts";
import type { Plan } from "./plan-editing.ts";

type Schemas = components["schemas"];
export type Job = Schemas["JobView"];
export type JobPage = Schemas["JobPage"];
export type JobRequest = Schemas["JobRequest"];
export type Backbone = Schemas["BackboneView"];
export type Reason = Schemas["PlanReason"];
export type Explained = Schemas["ExplainedPlan"];
export type Violation = Schemas["Violation"];

const KEY = "api-key";
const RETRY_MS = 2000;

/** Kept for the session alone. */
export const apiKey = signal(sessionStorage.getItem(KEY) ?? "");
/** Whether the API asked for a key, or refused the one it got. */
export const keyWanted = signal(false);

export function setApiKey(key: string): void {
  apiKey.value = key.trim();
  if (apiKey.value === "") sessionStorage.clear(); // with what was edited
  else sessionStorage.setItem(KEY, apiKey.value);
  keyWanted.value = false;
}

export class Refused extends Error {
  constructor(detail: string, readonly violations: Violation[] = []) {
    super(detail);
  }
}

export const hasEnded = (job: Job): boolean => ["succeeded", "failed", "canceled"].includes(job.status);

/** Raises Refused with what the API answered, or with what kept it from answering. */
async function call(path: string, method = "GET", body?: unknown): Promise<Response> {
  const headers = new Headers();
  if (apiKey.value !== "") headers.set("Authorization", `Bearer ${apiKey.value}`);
  if (body !== undefined) headers.set("Content-Type", "application/json");
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  } catch {
    throw new Refused("The service cannot be reached.");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) {
    keyWanted.value = true;
    const wrong = apiKey.value === "" ? "This service asks for an API key" : "This API key is not good, or no longer";
    throw new Refused(`${wrong}: enter one at the top.`);
  }
  const told = (await answer.json().catch(() => null)) as Schemas["Problem"] | null;
  throw new Refused(told?.detail ?? `The service answered with status ${answer.status}.`, told?.violations);
}

const json = async <T>(answer: Promise<Response>): Promise<T> => (await (await answer).json()) as T;

export const backbones = async (): Promise<Backbone[]> =>
  (await json<Schemas["BackboneList"]>(call("backbones"))).backbones;
export const explain = (request: Partial<JobRequest>): Promise<Explained> => json(call("plans", "POST", request));
export const submit = (request: Partial<JobRequest>): Promise<Job> => json(call("jobs", "POST", request));
export const job = (id: string): Promise<Job> => json(call(`jobs/${id}`));
export const cancel = (id: string): Promise<Job> => json(call(`jobs/${id}/cancel`, "POST"));
export const plan = (id: string): Promise<Plan> => json(call(`jobs/${id}/plan`));

export async function remove(id: string): Promise<void> {
  await call(`jobs/${id}`, "DELETE");
}

export function jobs(after: string | null, status: string, limit: number): Promise<JobPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== null) query.set("after", after);
  if (status !== "") query.set("status", status);
  return json(call(`jobs?${query}`));
}

/** What is below a job, for elements, which can send no key: by the ticket that its own URLs have.  From there the API
 * leads on to the storage. */
export function urlOf(its: Job, what: "content" | "preview" | "manifest" | "plan" | "events"): string {
  return `jobs/${its.id}/${what}${its.events_url ? new URL(its.events_url).search : ""}`;
}

const NAMES = { content: "video.mp4", manifest: "manifest.json", plan: "plan.json" };

/** With a ticket that is good now. */
export async function download(id: string, what: keyof typeof NAMES): Promise<void> {
  save(urlOf(await job(id), what), NAMES[what]);
}

export function save(url: string, name: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/** Tells of a job until it has ended, or until the returned function is called. */
export function follow(first: Job, tell: (job: Job) => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let stopped = false;
  const open = (from: Job): void => {
    if (stopped || hasEnded(from)) return;
    source = new EventSource(urlOf(from, "events"));
    source.addEventListener("job", (event) => {
      const now = JSON.parse((event as MessageEvent<string>).data) as Job;
      tell(now);
      if (hasEnded(now)) source?.close();
    });
    source.addEventListener("error", () => {
      // The ticket may be too old, or the API away: ask for another.
      source?.close();
      timer = window.setTimeout(() => job(first.id).then((now) => (tell(now), open(now)), () => open(from)), RETRY_MS);
    });
  };
  open(first);
  return () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
}
