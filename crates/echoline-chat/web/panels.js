// The parts of the page around the lines: rooms, users, header and title.

import { hue } from "./text.js";
import { $, badge, make } from "./view.js";
import { say } from "./words.js";

export class Panels {
  constructor(state, { show, join, leave, write, refresh, logOut }) {
    Object.assign(this, { state, show, join, leave, write, refresh });
    $("log-out").addEventListener("click", logOut);
    for (const side of ["rooms", "people"]) {
      $(`${side}-button`).addEventListener("click", () => this.toggle(side));
    }
    addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    $("join").addEventListener("submit", (event) => {
      event.preventDefault();
      const room = $("new-room").value.trim();
      $("new-room").value = "";
      if (room) this.join(room);
    });
  }

  toggle(side) {
    const wasOpen = $(side).classList.contains("open");
    this.close();
    $(side).classList.toggle("open", !wasOpen);
    $(`${side}-button`).setAttribute("aria-expanded", String(!wasOpen));
    if (!wasOpen) this.refresh();
  }

  close() {
    for (const side of ["rooms", "people"]) {
      $(side).classList.remove("open");
      $(`${side}-button`).setAttribute("aria-expanded", "false");
    }
  }

  draw() {
    this.rooms();
    this.people();
  }

  rooms() {
    const threads = [...this.state.threads.values()];
    const joined = threads.filter((thread) => thread.kind !== "private");
    replace($("joined"), joined.map((thread) => this.entry(thread, joined.length > 1)));
    const letters = threads.filter((thread) => thread.kind === "private");
    replace($("letters"), letters.map((thread) => this.entry(thread, true)));
    $("letters-part").hidden = !letters.length;
    const others = this.state.others.filter((room) => !this.state.threads.has("#" + room.room));
    replace($("others"), others.map((room) => this.other(room)));
    $("others-part").hidden = !others.length;
    this.head(threads);
  }

  /**
   * Creates the entry of a thread. If `ends` is set, it has a button that leaves or closes the
   * thread.
   */
  entry(thread, ends) {
    const note = thread.gone ? make("small", {}, say("has_left")) : null;
    const button = make("button", { type: "button", "data-thread": thread.key },
      make("span", {}, thread.name, note), badge(thread.unread, thread.mentions > 0));
    if (thread.key === this.state.current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => this.show(thread.key));
    const words = say(thread.kind === "private" ? "close_thread" : "leave_room", thread.name);
    const end = make("button", { type: "button", className: "end", title: words, "aria-label": words }, "×");
    end.addEventListener("click", () => this.leave(thread));
    return make("li", { className: thread.unread ? "news" : "" }, button, ends ? end : null);
  }

  other(room) {
    const note = [room.count, room.password ? say("password") : null, room.topic];
    const button = make("button", { type: "button" }, make("span", {}, room.room,
      make("small", {}, note.filter((part) => part || part === 0).join(" · "))));
    button.addEventListener("click", () => {
      if (!room.password) return this.join(room.room);
      this.close();
      $("input").value = `/join ${room.room} `;
      $("input").focus();
    });
    return make("li", {}, button);
  }

  head(threads) {
    const current = this.state.threads.get(this.state.current);
    set($("room-name"), current?.name ?? "echoline");
    set($("topic"), this.about(current));
    $("topic").title = this.about(current);
    $("chat").dataset.kind = current?.kind ?? "";
    $("private-badge").hidden = current?.kind !== "private";
    const unread = threads.reduce((sum, thread) => sum + thread.unread, 0);
    const hot = threads.some((thread) => thread.mentions);
    $("rooms-badge").hidden = !unread;
    set($("rooms-badge"), String(unread));
    const title = `${current?.name ?? ""} – echoline`;
    document.title = unread ? `${hot ? "● " : ""}(${unread}) ${title}` : title;
  }

  /** Returns the text below the name in the header. */
  about(thread) {
    if (thread?.kind !== "private") return thread?.topic ?? "";
    return say(thread.gone ? "person_gone" : "alone", thread.name);
  }

  people() {
    const thread = this.state.threads.get(this.state.current);
    const people = thread?.kind === "private" ? this.dialogue(thread) : [...(thread?.people ?? [])];
    const list = people.map(([name, person]) => this.person(name, person));
    if (thread && thread.count > people.length) {
      list.push(make("li", { className: "faint" }, say("and_more", thread.count - people.length)));
    }
    replace($("present"), list);
    set($("people-count"), thread?.people ? String(thread.count) : "");
    set($("topic"), this.about(thread));
  }

  /** Returns the two users of a private thread. */
  dialogue({ name, id, gone }) {
    return [...(gone ? [] : [[name, { person: id }]]), [this.state.name, {}]];
  }

  person(name, { away, operator, person }) {
    const isSelf = name === this.state.name;
    const note = [isSelf && say("you"), operator && say("operator"), away && say("away", away)];
    const words = note.filter(Boolean).join(" · ");
    const label = make("span", {}, make("span", { className: hue(name) }, name), words ? make("small", {}, words) : "");
    const button = make("button", { type: "button", title: isSelf ? "" : say("write_to", name) }, label);
    button.addEventListener("click", () => this.write(name, person));
    return make("li", {}, button);
  }
}

/** Replaces the children of a list, and keeps the focus at its position. */
function replace(list, children) {
  const place = [...list.children].findIndex((child) => child.contains(document.activeElement));
  list.replaceChildren(...children);
  if (place >= 0) list.children[Math.min(place, children.length - 1)]?.querySelector("button")?.focus();
}

/** Changes a text only if it is different, so that a screen reader does not repeat it. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
