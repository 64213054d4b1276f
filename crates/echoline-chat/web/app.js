// The page: connects the messages of the server with the actions of the user.

import { Asks } from "./asks.js";
import { SPOKEN, Thread, key, typed } from "./chat.js";
import { Composer } from "./composer.js";
import { Incoming } from "./incoming.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { Memory, restored, saved } from "./memory.js";
import { Notifier } from "./notifier.js";
import { Outgoing } from "./outgoing.js";
import { Panels } from "./panels.js";
import { Sent } from "./sent.js";
import { mentions } from "./text.js";
import { $, translate } from "./view.js";
import { language, say } from "./words.js";

const REFRESH_EVERY = 60_000;

const state = {
  name: "", token: null, threads: new Map(), current: null, commands: [], others: [],
  /** The maximum size of a message to the server, in bytes. The welcome message changes it. */
  maxLine: 4096,
  view: { numbers: false, times: false, quiet: false },
  isIn: false,
  /** Whether the current thread has been drawn. */
  isShown: false,
  /** The server's reason for closing the connection permanently, or null. */
  ended: null,
  /** The name of a user whose private thread opens when the server has sent their id. */
  opening: null,
};

translate(language);
const memory = new Memory(collect);
const link = new Link({ hello, serverMessage: (message) => incoming.take(message), changed });
const asks = new Asks((message) => link.send(message));
const sent = new Sent(state);
const log = new Log(state, { older: askOlder });
const composer = new Composer(state, {
  submit: (text) => outgoing.submit(text), changed: () => memory.soon(),
});
const notifier = new Notifier({ show });
const panels = new Panels(state, {
  show, write, refresh, leave: leaveThread, logOut: () => outgoing.logOut(),
  join: (room) => outgoing.act(`/join ${room}`, state.threads.get(state.current)),
});
const page = {
  state, link, asks, sent, log, composer, panels, memory, hello, showState, at, privateThread, thread,
  put, alert, inform, redraw, show, askOlder, refresh, write, openDoor, leave,
};
const incoming = new Incoming(page);
const outgoing = new Outgoing(page);
start();

function start() {
  const kept = memory.load();
  if (kept.token) {
    for (const record of kept.threads ?? []) {
      const thread = restored(record);
      state.threads.set(thread.key, thread);
    }
    Object.assign(state, { token: kept.token, name: kept.name, current: kept.current ?? null });
    sent.restore(kept.sent ?? []);
    return link.open();
  }
  $("name").focus();
}

/** Collects the state that must survive a reload of the page. */
function collect() {
  if (!state.token || !state.isIn || state.ended) return null;
  const { token, name, current } = state;
  const threads = [...state.threads.values()].filter((thread) => thread.kind !== "server");
  return { token, name, current, threads: threads.map(saved), sent: sent.saved() };
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  state.name = $("name").value.trim();
  state.token = null;
  $("name-error").textContent = "";
  if (state.name) link.open();
});
$("retry").addEventListener("click", () => (link.ended ? link.open() : link.hurry()));
document.addEventListener("visibilitychange", look);
addEventListener("focus", look);
setInterval(() => document.hidden || refresh(), REFRESH_EVERY);

/** Creates the first message of a connection: a name or a token, and the last lines received. */
function hello() {
  asks.forget();
  state.joining = false;
  const rooms = [...state.threads.values()].filter((thread) => thread.kind === "room");
  const after = {};
  for (const room of rooms) if (room.last) after[room.name] = room.last;
  if (state.token) return { token: state.token, after };
  return { name: state.name, rooms: rooms.map((room) => room.name), after };
}

function changed(how, seconds) {
  if (how === "open" || how === "connecting") state.ended = null;
  const ended = state.ended ? say("ended", state.ended) : say("left");
  const words = { connecting: say("connecting"), open: say("connected"), ended }[how];
  const offline = how === "waiting" && !navigator.onLine;
  showState(words ?? (offline ? say("offline") : say("lost", seconds)), how !== "open");
  // A screen reader announces the waiting state once, and not again each second.
  $("state-words").setAttribute("aria-live", how === "waiting" && state.wasWaiting ? "off" : "polite");
  state.wasWaiting = how === "waiting";
  $("retry").hidden = how !== "waiting" && how !== "ended";
  $("retry").textContent = how === "ended" ? say("come_back") : say("retry");
  $("chat").dataset.state = how;
}

function showState(words, isLost) {
  $("state-words").textContent = words;
  $("state").title = words;
  $("state").className = isLost ? "lost" : "";
  $("chat").classList.toggle("apart", isLost);
}

/** Returns the thread of a room or of the server. Creates it if it does not exist. */
function at(kind, name) {
  const place = key(kind, name);
  if (!state.threads.has(place)) state.threads.set(place, new Thread(kind, name));
  return state.threads.get(place);
}

/** Returns the private thread with the user of this id. Creates it if it does not exist. */
function privateThread(name, id) {
  const place = key("private", id);
  if (state.threads.has(place)) return state.threads.get(place);
  const others = [...state.threads.values()].filter((other) => other.kind === "private");
  const thread = new Thread("private", name, id);
  state.threads.set(place, thread);
  const namesake = others.some((other) => other.name === name);
  const text = say(namesake ? "namesake" : "alone", name);
  thread.lines.push({ kind: namesake ? "alert" : "notice", text });
  return thread;
}

/** Returns the thread that a message names by room or user id, or undefined if there is none. */
function thread({ room, person }) {
  return state.threads.get(person ? key("private", person) : key("room", room ?? ""));
}

/** Adds a line to a thread. Counts it as unread if the user does not see it. */
function put(thread, message) {
  const isSpoken = SPOKEN.has(message.kind) || message.kind === "private";
  message.mentioned = isSpoken && !message.mine && thread.kind === "room" && mentions(message.text, state.name);
  if (!thread.add(message)) return false;
  const isSeen = thread.key === state.current && !document.hidden && document.hasFocus();
  if (isSpoken && !message.mine && !isSeen) {
    if (!thread.unread) {
      thread.mark = thread.lines.slice(0, -1).findLast((line) => !log.isHidden(line)) ?? null;
    }
    thread.unread += 1;
    if (message.mentioned || thread.kind === "private") {
      thread.mentions += 1;
      notifier.tell(thread, message);
    }
  }
  if (thread.key === state.current) log.append(message);
  if (isSpoken) panels.rooms();
  return true;
}

/** Shows a line of the user that did not arrive, with buttons to send it again or to edit it. */
function alert(thread, words, kind, text) {
  const line = typed(kind, text);
  const buttons = [
    { label: say("again"), act: () => outgoing.send(line, thread) },
    { label: say("edit"), act: () => edit(thread, line) },
  ];
  put(thread, { kind: "alert", text: words, time_ms: Date.now(), buttons });
}

/** Puts a line into the message field of its thread, before the text that is already there. */
function edit(thread, line) {
  show(thread.key);
  const rest = composer.field.value;
  composer.fill(rest.trim() ? `${line}\n${rest}` : line);
  composer.field.focus();
}

/** Shows a line only to this user, in the given thread or in the current one. */
function inform(text, kind = "notice", thread = undefined) {
  const current = state.threads.get(state.current) ?? [...state.threads.values()][0];
  const place = thread ?? current ?? at("server", "echoline");
  put(place, { kind, text, time_ms: Date.now() });
  if (!state.threads.has(state.current)) show(place.key);
}

function redraw(thread) {
  if (thread.key === state.current) log.draw();
}

function show(place) {
  const thread = state.threads.get(place);
  if (!thread) return;
  const before = state.threads.get(state.current);
  if (state.isShown) composer.keep();
  if (before && before !== thread) before.mark = null;
  state.current = place;
  state.isShown = true;
  log.draw();
  sent.draw();
  composer.bring();
  panels.close();
  look();
  memory.soon();
  if (thread.kind === "private") asks.put({ ask: "person", person: thread.id });
  if (thread.kind === "room" && thread.people && thread.more && thread.lines.length < 30) askOlder();
}

/** Marks the current thread as read, if the user can see it. */
function look() {
  const thread = state.threads.get(state.current);
  if (thread && state.isShown && !document.hidden && document.hasFocus()) {
    if (thread.unread) log.mark();
    Object.assign(thread, { unread: 0, mentions: 0 });
    memory.soon();
  }
  panels.draw();
}

function askOlder() {
  const thread = state.threads.get(state.current);
  if (!thread?.more || thread.loading || thread.kind !== "room") return;
  thread.loading = true;
  asks.put({ ask: "history", room: thread.name, before: thread.first, count: 50 });
}

function refresh() {
  const thread = state.threads.get(state.current);
  if ($("chat").dataset.state !== "open") return;
  if (thread?.kind === "room") asks.put({ ask: "people", room: thread.name });
  if (thread?.kind === "private") asks.put({ ask: "person", person: thread.id });
  asks.put({ ask: "rooms" });
}

/** Opens the private thread with a user. If the id is unknown, asks the server for it first. */
function write(name, id) {
  if (name === state.name) return;
  if (id) return show(privateThread(name, id).key);
  state.opening = name;
  asks.put({ ask: "person", name });
}

/** Leaves a room, or closes a private thread or the server's thread. */
function leaveThread(thread) {
  if (thread.kind === "room") {
    return outgoing.act(`/leave ${thread.name}`, thread) || inform(say("not_connected_click"), "alert");
  }
  state.threads.delete(thread.key);
  if (thread.key === state.current) show([...state.threads.keys()][0]);
  memory.soon();
  panels.draw();
}

/** Shows the login form, with the reason why the server refused the login. */
function openDoor(words) {
  state.isIn = false;
  link.end();
  $("door").hidden = false;
  $("chat").hidden = true;
  $("name").value = state.name;
  $("name-error").textContent = words;
  $("name").focus();
}

/** Leaves the chat, and removes all its data from the page. */
function leave() {
  memory.clear();
  state.threads.clear();
  Object.assign(state, { token: null, name: "", current: null, isShown: false, others: [] });
  sent.begin();
  sent.restore([]);
  log.draw();
  composer.bring();
  panels.draw();
  document.title = "echoline";
  openDoor("");
}
