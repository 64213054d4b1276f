// Handles the messages of the server, by their kind. docs/protocol.md lists the kinds.

import { key, typed } from "./chat.js";
import { translated, translatedReason } from "./sentences.js";
import { $ } from "./view.js";
import { say } from "./words.js";

/** The maximum number of users, and of other rooms, in a list. */
const PEOPLE_MAX = 500;
const ROOMS_MAX = 100;

/** The kinds of messages that are handled by the method with the same name. */
const HANDLED = new Set([
  "welcome", "seats", "private", "missed", "reply", "error", "refused", "undelivered", "link",
  "view", "renewed", "people", "person", "rooms", "history", "commands", "pong", "end",
]);
/** The kinds of messages that are lines of a room. */
const ROOM_LINES = new Set(["said", "action", "joined", "left", "renamed", "topic", "notice"]);

export class Incoming {
  /** `page` has everything in `app.js` that a message can change. */
  constructor(page) {
    this.page = page;
    this.state = page.state;
  }

  /** Handles one message. Ignores unknown kinds, because a newer server may send them. */
  take(message) {
    if (HANDLED.has(message.kind)) this[message.kind](message);
    else if (ROOM_LINES.has(message.kind)) this.roomLine(message);
  }

  welcome({ name, token, max_line, view }) {
    const { page, state } = this;
    const isBack = state.isIn;
    Object.assign(state, { name, token, isIn: true });
    state.maxLine = max_line ?? state.maxLine;
    state.view = view ?? state.view;
    page.sent.begin();
    $("door").hidden = true;
    $("chat").hidden = false;
    page.memory.save();
    const threads = [...state.threads.values()].filter((thread) => thread.kind === "private");
    if (isBack && threads.length) page.inform(say("back"));
    if (!state.commands.length) page.asks.put({ ask: "commands" });
    page.asks.put({ ask: "rooms" });
    for (const thread of threads) {
      page.asks.put({ ask: "person", person: thread.id });
      this.tellMissing(thread, say("unknown"));
    }
  }

  /** Handles the list of rooms that the user is in. */
  seats({ rooms, current }) {
    const { page, state } = this;
    const names = new Set(rooms.map((seat) => seat.room));
    for (const thread of state.threads.values()) {
      const isOver = thread.kind === "room" ? !names.has(thread.name)
        : thread.kind === "server" && names.size;
      if (isOver) state.threads.delete(thread.key);
    }
    for (const seat of rooms) {
      const thread = page.at("room", seat.room);
      thread.topic = seat.topic;
      thread.people = null;
      page.asks.put({ ask: "people", room: seat.room });
    }
    const isGone = !state.threads.has(state.current);
    // After a reconnect, the user stays in the same thread. A newly joined room is shown.
    const isJoined = state.joining && current && key("room", current) !== state.current;
    if (current && (isGone || isJoined)) page.show(key("room", current));
    else if (isGone && state.threads.size) page.show([...state.threads.keys()][0]);
    else if (!state.isShown && !isGone) page.show(state.current);
    state.joining = false;
    page.panels.draw();
  }

  renewed({ room }) {
    const { page } = this;
    const thread = page.at("room", room);
    thread.renew();
    page.put(thread, { kind: "notice", text: say("renewed") });
    page.redraw(thread);
  }

  roomLine(message) {
    const { page, state } = this;
    const thread = page.at("room", message.room);
    // After a resume, earlier renames of the user arrive again. Only a rename of the current name
    // counts.
    if (message.kind === "renamed" && message.own && message.name === state.name) {
      state.name = message.text;
    }
    message.mine = message.own || message.name === state.name;
    page.sent.settle(thread.key, message);
    if (!page.put(thread, message)) return;
    const isErased = message.deleted !== undefined && thread.erase(message.deleted);
    if (isErased) page.redraw(thread);
    thread.follow(message);
    this.checkPrivate(message);
    // A node went down, so all its users have left. The list of users must be loaded again.
    if (message.kind === "notice" && message.text.includes(", and with it ")) {
      page.asks.put({ ask: "people", room: message.room });
    }
    page.panels.people();
    page.memory.soon();
  }

  /** Updates a private thread if the other user has left, come back or changed their name. */
  checkPrivate({ kind, name, text }) {
    if (!["joined", "left", "renamed"].includes(kind)) return;
    for (const thread of this.state.threads.values()) {
      if (thread.kind === "private" && [name, text].includes(thread.name)) {
        this.page.asks.put({ ask: "person", person: thread.id });
      }
    }
  }

  /** The server's link to the other nodes was lost or restored. */
  link({ lost }) {
    this.page.showState(say(lost ? "apart" : "connected"), lost);
    this.page.inform(say(lost ? "link_lost" : "link_back"), lost ? "alert" : "notice");
  }

  /** Handles a line of this user that did not reach the other nodes. */
  undelivered({ room, of, text, reason }) {
    const { page } = this;
    const thread = page.at("room", room);
    page.sent.giveUp(thread.key, of, text);
    const words = say("undelivered", translatedReason(reason));
    page.alert(thread, `${words} ${typed(of, text)}`, of, text);
  }

  /** Handles a line of this user that the server refused. */
  refused({ room, person, of, text, reason }) {
    const { page } = this;
    const thread = page.thread({ room, person });
    const words = `${say("refused", translated(reason))} ${typed(of, text)}`;
    if (!thread) return page.inform(words, "alert");
    page.sent.giveUp(thread.key, of, text);
    const isBack = thread.kind === "private" && page.composer.restore(thread, typed(of, text));
    if (isBack) page.inform(words, "alert", thread);
    else page.alert(thread, words, of, text);
    if (thread.kind === "private") page.asks.put({ ask: "person", person: thread.id });
  }

  pong({ ping, held }) {
    // If `held` is set, lines of this user have not reached the other nodes yet.
    if (!held) this.page.sent.answered(ping);
  }

  /**
   * Handles a page of the users of a room. `from` is the position of this page, and `after` the
   * position of the next one.
   */
  people({ room, people, count, topic, from, more, after }) {
    const { page } = this;
    page.asks.answered();
    const thread = page.at("room", room);
    if (!from || !thread.people) thread.people = new Map();
    for (const person of people) thread.people.set(person.name, person);
    Object.assign(thread, { count, topic });
    if (more && thread.people.size < PEOPLE_MAX) page.asks.put({ ask: "people", room, after });
    if (from) return page.panels.draw();
    // This answer comes after all earlier lines, so a line that is still missing did not arrive.
    this.tellMissing(thread, say("unsent"));
    if (thread.key === this.state.current && thread.more && thread.lines.length < 30) page.askOlder();
    page.panels.draw();
  }

  tellMissing(thread, words) {
    for (const { kind, text } of this.page.sent.missing(thread.key)) {
      this.page.alert(thread, `${words} ${typed(kind, text)}`, kind, text);
    }
  }

  /** Handles the answer whether a user is in the chat, and under which name. */
  person({ person, name, here }) {
    const { page, state } = this;
    page.asks.answered();
    if (state.opening && state.opening === name) {
      state.opening = null;
      if (here) return page.write(name, person);
      return page.inform(say("nobody", name), "alert");
    }
    const thread = state.threads.get(key("private", person));
    if (!thread) return;
    if (here && name !== thread.name) {
      page.put(thread, { kind: "renamed", name: thread.name, text: name, time_ms: Date.now() });
      thread.name = name;
    }
    if (here === thread.gone) {
      thread.gone = !here;
      const text = say(here ? "person_back" : "person_gone", thread.name);
      page.put(thread, { kind: "notice", text, time_ms: Date.now() });
    }
    if (thread.key === state.current) page.composer.name();
    page.panels.draw();
  }

  history({ room, lines, more }) {
    const { page, state } = this;
    page.asks.answered();
    const thread = page.at("room", room);
    for (const line of lines) line.mine = line.name === state.name;
    thread.more = more;
    thread.loading = false;
    const earlier = thread.addBefore(lines);
    if (thread.key === state.current) page.log.prepend(earlier.length);
  }

  rooms({ rooms, from, more, after }) {
    this.page.asks.answered();
    const before = from ? this.state.others : [];
    const known = new Set(before.map((room) => room.room));
    this.state.others = [...before, ...rooms.filter((room) => !room.in && !known.has(room.room))];
    if (more && this.state.others.length < ROOMS_MAX) this.page.asks.put({ ask: "rooms", after });
    this.page.panels.draw();
  }

  commands({ commands }) {
    this.page.asks.answered();
    this.state.commands = commands;
  }

  /** Applies the settings of `/numbers`, `/times` and `/quiet`. */
  view({ view }) {
    this.state.view = view;
    this.page.log.draw();
  }

  missed({ room, count }) {
    this.page.put(this.page.at("room", room), { kind: "alert", text: say("missed", count) });
  }

  /** Handles a private line, from another user or from this user. */
  private(message) {
    const { page, state } = this;
    const other = message.own ? message.to : message.name;
    message.mine = message.own;
    const place = key("private", message.person);
    const isNew = !state.threads.has(place);
    const thread = page.privateThread(other, message.person);
    thread.name = other;
    thread.gone = false;
    const kind = message.action ? "action" : "said";
    page.sent.settle(place, { ...message, kind });
    page.put(thread, message);
    if (message.own && isNew) page.show(place);
    page.panels.draw();
    page.memory.soon();
  }

  reply({ text, room, person }) {
    const words = translated(text, this.state.commands).replace(/^\*\*\* (.*) \*\*\*$/su, "$1");
    this.page.inform(words, "reply", this.page.thread({ room, person }));
  }

  error({ text, about, room, person, wait_ms }) {
    const { page, state } = this;
    const words = translated(text);
    // Too many logins came from this address, so the first message is sent again after the wait.
    if (about === "wait") {
      if (!state.isIn) return page.openDoor(words);
      setTimeout(() => page.link.send(page.hello()), wait_ms);
      return page.inform(words, "alert");
    }
    if (about !== "token" && about !== "name") {
      page.asks.answered();
      return page.inform(words, "alert", page.thread({ room, person }));
    }
    state.token = null;
    // The server does not know the session any more. The page logs in with the name, and sends the
    // last lines received.
    if (about === "token" && state.name) return page.link.send(page.hello());
    page.openDoor(words);
  }

  /** Handles the end of the connection by the server. */
  end({ text, final }) {
    const { page, state } = this;
    const words = translated(text).replace(/^\*\*\* (.*) \*\*\*$/su, "$1");
    // Without `final`, the page reconnects by itself.
    if (!final && state.isIn) return;
    if (final) page.memory.clear();
    if (!state.isIn) return page.openDoor(words);
    state.ended = words;
    page.link.end();
    page.inform(say("ended", words), "alert");
  }
}
