// Saves state in the browser's tab, so that it survives a reload of the page.

import { Thread } from "./chat.js";

const STORE = "echoline";
const SAVE_AFTER = 300;
/** The maximum number of private lines saved for each thread. No server stores private lines. */
const PRIVATE_LINES_MAX = 200;

export class Memory {
  /** `collect()` returns the state to save, or null if nothing can be saved now. */
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

/** Converts a thread to its saved form. */
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

/** Converts the saved form back to a thread. */
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
