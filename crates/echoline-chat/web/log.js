// Shows the lines of the current thread.

import { PRESENCE } from "./chat.js";
import { folds } from "./folding.js";
import { $, dayElement, foldElement, lineElement, markElement } from "./view.js";
import { say } from "./words.js";

/** The maximum number of lines that are drawn at first. Scrolling up adds more. */
const SHOWN_MAX = 400;
const SHOWN_MORE = 200;

export class Log {
  constructor(state, { older }) {
    this.state = state;
    this.list = $("log");
    this.older = older;
    this.below = 0;
    this.shown = 0;
    this.list.addEventListener("scroll", () => {
      if (this.list.scrollTop < 120) this.showEarlier();
      if (this.isAtEnd()) this.follow();
    });
    $("newest").addEventListener("click", () => this.follow());
    // Keeps the end in view when a keyboard opens or the window changes its size.
    new ResizeObserver(() => this.stays && this.follow()).observe(this.list);
  }

  get thread() { return this.state.threads.get(this.state.current); }

  isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  /** Draws the thread, without announcing it to a screen reader. */
  draw() {
    this.fill(SHOWN_MAX);
    const mark = this.list.querySelector(".mark");
    if (mark) mark.scrollIntoView({ block: "center" });
    else this.follow();
    this.stays = this.isAtEnd();
  }

  /** Draws the last `count` lines. */
  fill(count) {
    this.quietly(() => {
      this.shown = Math.min(count, this.thread?.lines.length ?? 0);
      const lines = this.shown ? this.thread.lines.slice(-this.shown) : [];
      this.list.className = this.state.view.times ? "times" : "";
      this.list.replaceChildren(...this.elements(lines));
    });
  }

  /** Draws the last `count` lines again, and keeps the scroll position. */
  extend(count) {
    const { scrollHeight, scrollTop } = this.list;
    const wasAtEnd = this.isAtEnd();
    this.fill(count);
    if (wasAtEnd) this.follow();
    else this.list.scrollTop = scrollTop + this.list.scrollHeight - scrollHeight;
  }

  /** Shows earlier lines from the thread. If there are none, asks the server for them. */
  showEarlier() {
    const count = this.thread?.lines.length ?? 0;
    if (this.shown < count) this.extend(Math.min(count, this.shown + SHOWN_MORE));
    else this.older();
  }

  append(line) {
    this.shown += 1;
    if (this.isHidden(line)) return;
    const wasAtEnd = this.isAtEnd();
    const last = this.lastRow();
    if (this.continues(last, line)) this.fold(last, line);
    else this.list.append(...this.elements([line], last?.lines?.at(-1) ?? null));
    if (wasAtEnd || line.mine) return this.follow();
    if (PRESENCE.has(line.kind)) return;
    this.below += 1;
    $("newest").textContent = say("newest_count", this.below);
    $("newest").hidden = false;
  }

  /** Adds a line to a row of folded lines. The row stays open, and the focus stays. */
  fold(row, line) {
    const button = row.querySelector("[aria-expanded]");
    const hasFocus = button !== null && button === document.activeElement;
    const next = this.row([...row.lines, line], undefined, row);
    row.replaceWith(next);
    if (hasFocus) next.querySelector("[aria-expanded]").focus({ preventScroll: true });
  }

  /** Returns the last element that shows lines. */
  lastRow() {
    let row = this.list.lastElementChild;
    while (row && !row.lines) row = row.previousElementSibling;
    return row;
  }

  /** Shows earlier lines that the server has just sent. */
  prepend(count) {
    if (count) this.extend(this.shown + count);
  }

  /** Puts a mark before the first unread line. */
  mark() {
    this.list.querySelector(".mark")?.remove();
    const last = this.thread.mark;
    const element = last && [...this.list.children].find((child) => child.lines?.includes(last));
    element?.after(markElement());
  }

  follow() {
    this.list.scrollTop = this.list.scrollHeight;
    this.below = 0;
    this.stays = true;
    $("newest").hidden = true;
    if (this.shown > 2 * SHOWN_MAX) this.trim();
  }

  /** Removes old elements and lines. Scrolling up loads them again. */
  trim() {
    const thread = this.thread;
    if (thread.kind === "room") {
      thread.lines.splice(0, thread.lines.length - SHOWN_MAX);
      thread.more = true;
    }
    this.fill(SHOWN_MAX);
    this.list.scrollTop = this.list.scrollHeight;
  }

  isHidden(line) {
    if (line.ignored) return true;
    return this.state.view.quiet && (PRESENCE.has(line.kind) || line.kind === "renamed");
  }

  /** Returns whether a line is folded into the row before it. */
  continues(row, line) {
    const before = row?.lines?.at(-1);
    return before && folds(before) && folds(line) && before !== this.thread.mark && !dayElement(line, before);
  }

  /** Returns the elements for these lines, which come after the line `before`. */
  elements(lines, before = undefined) {
    const elements = [];
    let previous = before;
    for (const line of lines) {
      if (this.isHidden(line)) continue;
      const row = elements.at(-1);
      if (this.continues(row, line)) {
        elements[elements.length - 1] = { lines: [...row.lines, line] };
      } else {
        const mark = previous && previous === this.thread.mark ? markElement() : null;
        const day = dayElement(line, previous);
        elements.push(...[mark, day].filter((one) => one), { lines: [line], before: previous });
      }
      previous = line;
    }
    return elements.map((row) => (row instanceof Element ? row : this.row(row.lines, row.before)));
  }

  /** Returns the element for one line, or for several folded lines. */
  row(lines, before, replaced = null) {
    const element = lines.length > 1 ? foldElement(lines, this.state.view, replaced)
      : lineElement(lines[0], before, this.state.view);
    element.lines = lines;
    return element;
  }

  quietly(change) {
    this.list.setAttribute("aria-live", "off");
    change();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.list.setAttribute("aria-live", "polite"), 300);
  }
}
