// The lines of the thread that is shown.

import { $, dayElement, lineElement, markElement } from "./view.js";
import { say } from "./words.js";

/** Lines that are elements at once; more appear when one scrolls up. */
const SHOWN_MAX = 400;

export class Log {
  constructor(state, { older }) {
    this.state = state;
    this.list = $("log");
    this.below = 0;
    this.list.addEventListener("scroll", () => {
      if (this.list.scrollTop < 120) older();
      if (this.isAtEnd()) this.follow();
    });
    $("newest").addEventListener("click", () => this.follow());
    // What is at the end stays there when a keyboard opens or a window changes.
    new ResizeObserver(() => this.stays && this.follow()).observe(this.list);
  }

  get thread() { return this.state.threads.get(this.state.current); }

  isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  /** Everything anew; a screen reader is not to read it all. */
  draw() {
    this.quietly(() => {
      const lines = this.thread?.lines.slice(-SHOWN_MAX) ?? [];
      this.shown = lines.length;
      this.list.replaceChildren(...lines.flatMap((line, place) => this.elements(line, lines[place - 1])));
    });
    const mark = this.list.querySelector(".mark");
    if (mark) mark.scrollIntoView({ block: "center" });
    else this.follow();
    this.stays = this.isAtEnd();
  }

  append(line) {
    const lines = this.thread.lines;
    const wasAtEnd = this.isAtEnd();
    this.list.append(...this.elements(line, lines[lines.length - 2]));
    this.shown += 1;
    if (wasAtEnd || line.mine) return this.follow();
    this.below += 1;
    $("newest").textContent = say("newest_count", this.below);
    $("newest").hidden = false;
  }

  /** So many lines have come before the others. */
  prepend(count) {
    if (!count) return;
    const { scrollHeight, scrollTop } = this.list;
    const wasAtEnd = this.isAtEnd();
    this.quietly(() => {
      const lines = this.thread.lines.slice(0, count);
      const elements = lines.flatMap((line, place) => this.elements(line, lines[place - 1]));
      this.list.prepend(...elements);
    });
    if (wasAtEnd) this.follow();
    else this.list.scrollTop = scrollTop + this.list.scrollHeight - scrollHeight;
  }

  /** The reader is back: shows where they stopped. */
  mark() {
    this.list.querySelector(".mark")?.remove();
    const last = this.thread.mark;
    const element = last && [...this.list.children].find((child) => child.line === last);
    element?.after(markElement());
  }

  follow() {
    this.list.scrollTop = this.list.scrollHeight;
    this.below = 0;
    this.stays = true;
    $("newest").hidden = true;
    // What is far above is there again when one scrolls up to it.
    if (this.list.children.length > 2 * SHOWN_MAX) {
      this.quietly(() => [...this.list.children].slice(0, -SHOWN_MAX).forEach((child) => child.remove()));
      const first = [...this.list.children].find((child) => child.line)?.line;
      const place = this.thread.lines.indexOf(first);
      if (this.thread.kind === "room" && place > 0) {
        this.thread.lines.splice(0, place);
        this.thread.more = true;
      }
    }
  }

  elements(line, before) {
    const { mine, mentioned } = line;
    const element = lineElement(line, before, { mine, mentioned });
    element.line = line;
    const mark = before && before === this.thread.mark ? markElement() : null;
    return [mark, dayElement(line, before), element].filter((one) => one);
  }

  quietly(change) {
    this.list.setAttribute("aria-live", "off");
    change();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.list.setAttribute("aria-live", "polite"), 300);
  }
}
