/** What is edited, kept for the tab: by job, or under none.  It holds prompts, and so goes with the tab and the key. */

import type { Reason } from "./api.ts";
import type { History } from "./history.ts";
import type { Edited } from "./plan-editing.ts";
import type { Settings } from "./state.ts";

export interface Work {
  prompt: string;
  settings: Settings;
  reasons: Reason[];
  history: History<Edited> | null;
}

/** So many steps can be undone after a reload, and then all others at once: a long video's plan takes 50 KB a step. */
const STEPS = 20;

const nameOf = (job: string | null): string => `edited ${job ?? ""}`;

export function keep(job: string | null, { history, ...work }: Work): void {
  const past = history?.past ?? [];
  const shorter = history && { ...history, past: past.length > STEPS ? [past[0]!, ...past.slice(-STEPS)] : past };
  try {
    sessionStorage.setItem(nameOf(job), JSON.stringify({ ...work, history: shorter }));
  } catch {
    forget(job); // there is no room: better nothing than what is old
  }
}

export function kept(job: string | null): Work | null {
  const text = sessionStorage.getItem(nameOf(job));
  return text === null ? null : (JSON.parse(text) as Work);
}

export const forget = (job: string | null): void => sessionStorage.removeItem(nameOf(job));
