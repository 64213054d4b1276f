// Lines that this page has sent and that the server has not sent back yet.

import { SPOKEN, typed } from "./chat.js";
import { $, make } from "./view.js";
import { say } from "./words.js";

/** After this time, in milliseconds, a line that was not sent back is shown as waiting. */
const SHOW_AFTER = 1000;

export class Sent {
  constructor(state) {
    this.state = state;
    /** The lines sent on this connection, in order: { thread, kind, text, pings, since }. */
    this.lines = [];
    /** The lines sent on earlier connections, which may not have arrived. */
    this.suspects = [];
  }

  /** Adds a line to the thread with this key. `pings` is the number of the next ping. */
  add(thread, kind, text, pings) {
    this.lines.push({ thread, kind, text: text.trim(), pings, since: performance.now() });
    setTimeout(() => this.draw(), SHOW_AFTER);
  }

  /** Starts a new connection, which will show whether lines of earlier connections have arrived. */
  begin() {
    this.suspects = [...this.suspects, ...this.lines];
    this.lines = [];
  }

  /** Returns the lines that a reload of the page would lose. */
  saved() {
    return [...this.suspects, ...this.lines].map(({ thread, kind, text }) => ({ thread, kind, text }));
  }

  restore(lines) {
    this.suspects = lines.map((line) => ({ ...line, since: 0 }));
  }

  /** Handles a line that arrived in a thread: settles the oldest unsettled line of this user. */
  settle(thread, { text, mine, kind }) {
    if (!mine || !SPOKEN.has(kind)) return;
    this.take(this.lines, (said) => said.thread === thread);
    this.take(this.suspects, this.is(thread, kind, text));
    this.draw();
  }

  /** Drops a line, because the server reported that it did not arrive. */
  giveUp(thread, kind, text) {
    this.take(this.lines, this.is(thread, kind, text));
    this.draw();
  }

  /** Drops the lines that were sent before this ping, because the server has handled them. */
  answered(ping) {
    this.lines = this.lines.filter((said) => said.pings >= ping);
    this.draw();
  }

  /** Returns the lines of earlier connections that have not arrived in the thread with this key. */
  missing(thread) {
    const missing = this.suspects.filter((said) => said.thread === thread);
    this.suspects = this.suspects.filter((said) => said.thread !== thread);
    this.draw();
    return missing;
  }

  /** Shows the waiting lines below the lines of the thread. */
  draw() {
    const now = performance.now();
    const waiting = [...this.suspects, ...this.lines].filter((said) =>
      said.thread === this.state.current && now - said.since >= SHOW_AFTER);
    if (!waiting.length && $("waiting").hidden) return;
    $("waiting").replaceChildren(...waiting.map(({ kind, text }) => make("li", {},
      make("span", {}, say("waiting")), " ", make("span", { className: "text" }, typed(kind, text)))));
    $("waiting").hidden = !waiting.length;
    $("waiting").scrollTop = $("waiting").scrollHeight;
  }

  is(thread, kind, text) {
    return (said) => said.thread === thread && said.kind === kind && said.text === text.trim();
  }

  take(lines, fits) {
    const place = lines.findIndex(fits);
    if (place >= 0) lines.splice(place, 1);
  }
}
