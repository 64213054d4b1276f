// What was said here and is not known to have arrived.

import { key } from "./chat.js";
import { $, make } from "./view.js";
import { say } from "./words.js";

/** Milliseconds after which a line that has not come back is shown to wait: most are back before. */
const SHOW_AFTER = 1000;

export class Sent {
  constructor(state) {
    this.state = state;
    /** Said on this connection, in order: { room, text, pings, since, isAhead }. */
    this.lines = [];
    /** Said on the connection before this one. */
    this.suspects = [];
  }

  /** Said now, after so many pings. */
  add(room, text, pings) {
    this.lines.push({ room, text, pings, since: performance.now() });
    setTimeout(() => this.draw(), SHOW_AFTER);
  }

  /** A new connection: whether what was said on the old one has arrived will be seen. */
  begin() {
    this.suspects = this.lines;
    this.lines = [];
  }

  /** A line has arrived: of ours the oldest that we were not sure of. */
  settle({ room, text, mine, kind }) {
    if (!mine || (kind !== "said" && kind !== "action")) return;
    this.take(this.lines, (said) => said.room === room);
    this.take(this.suspects, (said) => said.room === room && said.text === text);
    this.draw();
  }

  /** It came to nothing, and the server has said so. */
  giveUp(room, text) {
    this.take(this.lines, (said) => said.room === room && said.text === text);
    this.draw();
  }

  /** It is shown already, before it has its place. */
  showAhead(room, text) {
    const own = this.lines.find((said) => said.room === room && said.text === text && !said.isAhead);
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
    $("waiting").replaceChildren(...waiting.map(({ text }) =>
      make("li", {}, make("span", {}, say("waiting")), " ", make("span", { className: "text" }, text))));
    $("waiting").hidden = !waiting.length;
    $("waiting").scrollTop = $("waiting").scrollHeight;
  }

  take(lines, fits) {
    const place = lines.findIndex(fits);
    if (place >= 0) lines.splice(place, 1);
  }
}
