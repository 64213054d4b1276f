// State that outlives a reload of the page, in this tab.

import { Thread } from "./chat.js";

const STORE = "echoline";
const SAVE_AFTER = 300;
/** The most private lines kept for each thread, because no server stores them. */
const PRIVATE_LINES_MAX = 200;

export class Memory {
  /** `collect()` returns the state to save, or null to save nothing now. */
  constructor(collect) {
    this.collect = collect;
    addEventListener("pagehide", () => this.save());
    document.addEventListener("visibilitychange", () => document.hidden && this.save());
  }

  load() {
    try {
      return JSON.parse(sessionStorage.getItem(STORE)) ?? {};
    } catch {
      return {};
    }
  }

  /** Saves after a short delay, because a busy room calls this for each line. */
  soon() {
    this.timer ??= setTimeout(() => this.save(), SAVE_AFTER);
  }

  save() {
    clearTimeout(this.timer);
    this.timer = null;
    const what = this.collect();
    if (!what) return;
    try {
      sessionStorage.setItem(STORE, JSON.stringify(what));
    } catch { /* Without storage, a reload asks for the name again. */ }
  }

  clear() {
    clearTimeout(this.timer);
    this.timer = null;
    try {
      sessionStorage.removeItem(STORE);
    } catch { /* As above. */ }
  }
}

/** Returns the saved form of a thread. */
export function saved(thread) {
  const { kind, name, id, gone, last, unread, mentions, draft, sent, lines } = thread;
  const before = thread.mark ? lines.slice(0, lines.indexOf(thread.mark) + 1) : [];
  const record = { kind, name, id, gone, last, unread, mentions, draft, sent };
  if (kind === "private") {
    const kept = lines.slice(-PRIVATE_LINES_MAX).map(({ buttons, ...line }) => line);
    return { ...record, lines: kept, mark: before.length - (lines.length - kept.length) };
  }
  const numbered = before.findLast((line) => line.number !== undefined);
  return { ...record, mark: numbered?.number ?? thread.markNumber };
}

/** Returns the thread of a saved form. */
export function restored({ kind, name, id, mark, lines, ...rest }) {
  const thread = Object.assign(new Thread(kind, name, id), rest);
  if (kind === "private") {
    thread.lines = lines ?? [];
    thread.mark = thread.lines[mark - 1] ?? null;
  } else {
    thread.markNumber = mark ?? null;
  }
  return thread;
}
