// What was said here and is not known to have arrived.

import { SPOKEN, key, typed } from "./chat.js";
import { $, make } from "./view.js";
import { say } from "./words.js";

/** Milliseconds after which a line that has not come back is shown to wait: most are back before. */
const SHOW_AFTER = 1000;

export class Sent {
  constructor(state) {
    this.state = state;
    /** Said on this connection, in order: { room, kind, text, pings, since, isAhead }. */
    this.lines = [];
    /** Said on the connection before this one. */
    this.suspects = [];
  }

  /** Said now, after so many pings. */
  add(room, kind, text, pings) {
    this.lines.push({ room, kind, text, pings, since: performance.now() });
    setTimeout(() => this.draw(), SHOW_AFTER);
  }

  /** A new connection: whether what was said on the old one has arrived will be seen. */
  begin() {
    this.suspects = this.lines;
    this.lines = [];
  }

  /** A line has arrived: of ours the oldest that we were not sure of. */
  settle({ room, text, mine, kind }) {
    if (!mine || !SPOKEN.has(kind)) return;
    this.take(this.lines, (said) => said.room === room);
    this.take(this.suspects, this.is(room, kind, text));
    this.draw();
  }

  /** It came to nothing, and the server has said so. */
  giveUp(room, kind, text) {
    this.take(this.lines, this.is(room, kind, text));
    this.draw();
  }

  /** It is shown already, before it has its place. */
  showAhead(room, kind, text) {
    const isIt = this.is(room, kind, text);
    const own = this.lines.find((said) => isIt(said) && !said.isAhead);
    if (own) own.isAhead = true;
    this.draw();
  }

  /** What was said before this ping has been dealt with, one way or another. */
  answered(ping) {
    this.lines = this.lines.filter((said) => said.pings >= ping);
    this.draw();
  }

  /** What of the old connection has not arrived in this room, now that all up to here is known. */
  missing(room) {
    const missing = this.suspects.filter((said) => said.room === room);
    this.suspects = this.suspects.filter((said) => said.room !== room);
    this.draw();
    return missing;
  }

  /** Shows below the lines of the room what waits. */
  draw() {
    const now = performance.now();
    const waiting = [...this.suspects, ...this.lines].filter((said) =>
      key("room", said.room) === this.state.current && !said.isAhead && now - said.since >= SHOW_AFTER);
    if (!waiting.length && $("waiting").hidden) return;
    $("waiting").replaceChildren(...waiting.map(({ kind, text }) => make("li", {},
      make("span", {}, say("waiting")), " ", make("span", { className: "text" }, typed(kind, text)))));
    $("waiting").hidden = !waiting.length;
    $("waiting").scrollTop = $("waiting").scrollHeight;
  }

  is(room, kind, text) {
    return (said) => said.room === room && said.kind === kind && said.text === text;
  }

  take(lines, fits) {
    const place = lines.findIndex(fits);
    if (place >= 0) lines.splice(place, 1);
  }
}
