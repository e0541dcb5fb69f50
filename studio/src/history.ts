/** Undo and redo over immutable states. */

export interface History<T> {
  past: T[];
  present: T;
  future: T[];
  /** What the last change was of: changes of the same, one after another, are undone together. */
  of: string | null;
}

const LIMIT = 200;

export const begun = <T>(present: T): History<T> => ({ past: [], present, future: [], of: null });

/** `of`: such as "name of car", so that a name is undone as a whole and not letter by letter; null is of nothing. */
export function changed<T>(history: History<T>, present: T, of: string | null = null): History<T> {
  if (present === history.present) return history;
  const merges = of !== null && of === history.of && history.past.length > 0;
  const past = merges ? history.past : [...history.past, history.present].slice(-LIMIT);
  return { past, present, future: [], of };
}

export function undone<T>(history: History<T>): History<T> {
  const before = history.past.at(-1);
  if (before === undefined) return history;
  return { past: history.past.slice(0, -1), present: before, future: [history.present, ...history.future], of: null };
}

export function redone<T>(history: History<T>): History<T> {
  const [next, ...future] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.present], present: next, future, of: null };
}
