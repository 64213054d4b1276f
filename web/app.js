// The page: what comes from the server and from the reader, joined.

import { Asks } from "./asks.js";
import { SPOKEN, Thread, key, memory, mentions, typed } from "./chat.js";
import { Composer } from "./composer.js";
import { Link } from "./link.js";
import { Log } from "./log.js";
import { Panels } from "./panels.js";
import { Sent } from "./sent.js";
import { $, make, translate } from "./view.js";
import { language, say } from "./words.js";

const REFRESH_EVERY = 60_000;

/** Bytes of one message to the server at most: the longest line of the chat. */
let lineMax = 4096;

const state = {
  name: "", token: null, threads: new Map(), current: null, commands: [], others: [],
  wanted: {}, isIn: false, leaving: false,
};

const link = new Link({ hello, told, changed });
const asks = new Asks((message) => link.send(message));
const sent = new Sent(state);
const log = new Log(state, { older: askOlder });
const panels = new Panels(state, { show, join: (room) => act(`/join ${room}`), write, refresh });
const composer = new Composer(state, { submit });

translate(language);
start();

function start() {
  const kept = memory.load();
  state.wanted = kept.seen ?? {};
  if (kept.token) {
    Object.assign(state, { token: kept.token, name: kept.name });
    return link.open();
  }
  $("name").focus();
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

/** The first words of a connection: who one is, and what one has seen. */
function hello() {
  asks.forget();
  const after = { ...state.wanted };
  const rooms = [...state.threads.values()].filter((thread) => thread.kind === "room");
  for (const room of rooms) if (room.last) after[room.name] = room.last;
  if (state.token) return { token: state.token, after };
  const names = rooms.map((room) => room.name);
  return { name: state.name, rooms: names.length ? names : Object.keys(after), after };
}

function changed(how, seconds) {
  const words = { connecting: "connecting", open: "connected", ended: "left" }[how];
  const offline = how === "waiting" && !navigator.onLine;
  showState(words ? say(words) : offline ? say("offline") : say("lost", seconds), how !== "open");
  // Read out once, and not again with each second.
  $("state-words").setAttribute("aria-live", how === "waiting" && state.wasWaiting ? "off" : "polite");
  state.wasWaiting = how === "waiting";
  $("retry").hidden = how !== "waiting" && how !== "ended";
  $("retry").textContent = how === "ended" ? say("come_back") : say("retry");
  $("chat").dataset.state = how;
}

function showState(words, isLost) {
  $("state-words").textContent = words;
  $("state").className = isLost ? "lost" : "";
}

/** What the server says, by its kind. */
function told(message) {
  const take = {
    welcome, seats, people, history, rooms, commands, renewed, missed, reply, error, end,
    private: letter, pong, link: linked, undelivered, ahead,
  }[message.kind];
  take ? take(message) : line(message);
}

function welcome({ name, token }) {
  const isBack = state.isIn;
  Object.assign(state, { name, token, isIn: true, leaving: false });
  sent.begin();
  $("door").hidden = true;
  $("chat").hidden = false;
  remember();
  if (isBack && [...state.threads.values()].some((thread) => thread.kind === "private")) {
    inform(say("back"));
  }
  if (!state.commands.length) asks.put({ ask: "commands" });
  asks.put({ ask: "rooms" });
}

/** The rooms that we are in from here on. */
function seats({ rooms, current }) {
  const names = new Set(rooms.map((seat) => seat.room));
  for (const thread of state.threads.values()) {
    if (thread.kind === "room" && !names.has(thread.name)) state.threads.delete(thread.key);
  }
  for (const seat of rooms) {
    const known = state.threads.has(key("room", seat.room));
    const thread = at("room", seat.room);
    thread.topic = seat.topic;
    thread.people = null;
    if (!known && state.wanted[seat.room]) thread.last = state.wanted[seat.room];
    asks.put({ ask: "people", room: seat.room });
  }
  state.wanted = {};
  const gone = !state.threads.has(state.current);
  // After a break one stays where one was; a room that was just joined is shown.
  if (current && (gone || (state.joining && key("room", current) !== state.current))) {
    state.joining = false;
    show(key("room", current));
  }
  if (gone && !current && state.threads.size) show([...state.threads.keys()][0]);
  panels.draw();
}

function renewed({ room }) {
  const thread = at("room", room);
  thread.renew();
  put(thread, { kind: "notice", text: say("renewed") });
  if (thread.key === state.current) log.draw();
}

function line(message) {
  const thread = at("room", message.room);
  if (message.kind === "renamed" && message.own) state.name = message.text;
  if (message.kind === "renamed") rename(message.name, message.text);
  message.mine = message.own || message.name === state.name;
  sent.settle(message);
  const shown = thread.settleAhead(message);
  if (!put(thread, message)) return;
  const erased = message.deleted !== undefined && thread.erase(message.deleted);
  if ((shown || erased) && thread.key === state.current) log.draw();
  thread.follow(message);
  // Many have gone at once, with the machine that served them.
  if (message.kind === "notice" && message.text.includes(", and with it ")) {
    asks.put({ ask: "people", room: message.room });
  }
  panels.people();
  remember();
}

/** The server has lost the other machines of the chat, or has them again. */
function linked({ lost }) {
  showState(say(lost ? "apart" : "connected"), lost);
  inform(say(lost ? "link_lost" : "link_back"), lost ? "alert" : "notice");
}

/** A line of ours came to nothing, says the server. */
function undelivered({ room, of, text, reason }) {
  const thread = at("room", room);
  sent.giveUp(room, of, text);
  const wasShown = thread.settleAhead({ kind: of, name: state.name, text });
  const alert = `${say("undelivered", reason)} ${typed(of, text)}`;
  put(thread, { kind: "alert", text: alert, time_ms: Date.now(), button: again(room, text, of) });
  if (wasShown && thread.key === state.current) log.draw();
}

/** A line that the other machines of the chat do not have yet. */
function ahead({ room, of, name, text, time_ms }) {
  const mine = name === state.name;
  if (mine) sent.showAhead(room, of, text);
  put(at("room", room), { kind: of, name, text, time_ms, mine, isAhead: true });
}

function pong({ ping, held }) {
  // Lines of ours are still on their way to other machines.
  if (!held) sent.answered(ping);
}

function people({ room, people, count, topic }) {
  asks.answered();
  const thread = at("room", room);
  thread.people = new Map(people.map((person) => [person.name, person]));
  Object.assign(thread, { count, topic });
  // All lines up to now were before this: what is not among them did not arrive.
  for (const { kind, text } of sent.missing(room)) {
    const alert = `${say("unsent")} ${typed(kind, text)}`;
    put(thread, { kind: "alert", text: alert, button: again(room, text, kind) });
  }
  if (thread.key === state.current && thread.more && thread.lines.length < 30) askOlder();
  panels.draw();
}

/** What says a line again. */
function again(room, text, kind) {
  const button = make("button", { type: "button", textContent: say("again") });
  button.addEventListener("click", () => {
    button.disabled = true;
    if (kind === "action") act(typed(kind, text), room);
    else speak(room, text);
  });
  return button;
}

function history({ room, lines, more }) {
  asks.answered();
  const thread = at("room", room);
  for (const line of lines) line.mine = line.name === state.name;
  thread.more = more;
  thread.loading = false;
  const earlier = thread.addBefore(lines);
  if (thread.key === state.current) log.prepend(earlier.length);
}

function rooms({ rooms }) {
  asks.answered();
  state.others = rooms.filter((room) => !room.in);
  panels.draw();
}

function commands({ commands }) {
  asks.answered();
  state.commands = commands;
}

function missed({ room, count }) {
  put(at("room", room), { kind: "alert", text: say("missed", count) });
}

function letter(message) {
  const other = message.own ? message.to : message.name;
  message.mine = message.own;
  const isNew = !state.threads.has(key("private", other));
  put(at("private", other), message);
  if (message.own && isNew) show(key("private", other));
  panels.draw();
}

function reply({ text }) {
  const words = text.replace(/^\*\*\* (.*) \*\*\*$/su, "$1");
  inform(words, "reply");
}

function error({ text, about }) {
  if (state.isIn && about === "token") {
    // The server knows nothing of us any more: by name, then, and with all that we have seen.
    state.token = null;
    return link.send(hello());
  }
  if (about === "token" || about === "name") {
    const name = state.name;
    const kept = about === "token" && name;
    state.token = null;
    memory.clear();
    if (kept) return link.send(hello());
    link.end();
    state.isIn = false;
    $("door").hidden = false;
    $("chat").hidden = true;
    $("name").value = name;
    $("name-error").textContent = text;
    return $("name").focus();
  }
  asks.answered();
  inform(text, "alert");
}

/** The server ends the connection. */
function end({ text, final }) {
  if (final || !state.isIn) {
    if (final) memory.clear();
    link.end();
    if (state.isIn) return inform(say("ended", text), "alert");
    $("name-error").textContent = text;
  }
}

/** The thread of this name, made where it is new. */
function at(kind, name) {
  const place = key(kind, name);
  if (!state.threads.has(place)) state.threads.set(place, new Thread(kind, name));
  return state.threads.get(place);
}

/** Somebody has a new name: what was said alone goes on under it. */
function rename(old, name) {
  const thread = state.threads.get(key("private", old));
  if (!thread || state.threads.has(key("private", name))) return;
  const wasCurrent = state.current === thread.key;
  state.threads.delete(thread.key);
  thread.name = name;
  state.threads.set(thread.key, thread);
  if (wasCurrent) show(thread.key);
}

/** Adds a line to a thread, and counts it where it is not seen. */
function put(thread, message) {
  const isSpoken = SPOKEN.has(message.kind) || message.kind === "private";
  message.mentioned = isSpoken && !message.mine && thread.kind === "room" && mentions(message.text, state.name);
  if (!thread.add(message)) return false;
  const isSeen = thread.key === state.current && !document.hidden && document.hasFocus();
  if (isSpoken && !message.mine && !isSeen) {
    if (!thread.unread) thread.mark = thread.lines.length > 1 ? thread.lines[thread.lines.length - 2] : null;
    thread.unread += 1;
    if (message.mentioned || thread.kind === "private") thread.mentions += 1;
  }
  if (thread.key === state.current) log.append(message);
  if (isSpoken) panels.rooms();
  return true;
}

/** Something for the reader alone, where they are. */
function inform(text, kind = "notice") {
  const thread = state.threads.get(state.current) ?? [...state.threads.values()][0];
  if (thread) put(thread, { kind, text, time_ms: Date.now() });
}

function show(place) {
  const thread = state.threads.get(place);
  if (!thread) return;
  composer.keep();
  const before = state.threads.get(state.current);
  if (before) before.mark = null;
  state.current = place;
  log.draw();
  sent.draw();
  composer.bring();
  panels.close();
  look();
  if (thread.kind === "room" && thread.people && thread.more && thread.lines.length < 30) askOlder();
}

/** The reader looks at what is shown. */
function look() {
  const thread = state.threads.get(state.current);
  if (thread && !document.hidden && document.hasFocus()) {
    if (thread.unread) log.mark();
    Object.assign(thread, { unread: 0, mentions: 0 });
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
  asks.put({ ask: "rooms" });
}

function write(name) {
  if (name !== state.name) {
    const thread = at("private", name);
    if (!thread.lines.length) thread.lines.push({ kind: "notice", text: say("alone", name) });
    show(thread.key);
  }
}

/** What was typed: `false` where it stays in the field. */
function submit(text) {
  if ($("chat").dataset.state !== "open") {
    inform(say("not_connected"), "alert");
    return false;
  }
  const thread = state.threads.get(state.current);
  for (const part of text.split(/\r?\n/).filter((part) => part.trim())) {
    const isCommand = part.startsWith("/") && !part.startsWith("//");
    if (thread?.kind === "private" && !isCommand) {
      if (!act(`/msg ${thread.name} ${part}`)) return false;
    } else if (isCommand) {
      if (!act(part, thread?.kind === "room" ? thread.name : undefined)) return false;
    } else if (!speak(thread?.name, part.startsWith("//") ? part.slice(1) : part)) {
      return false;
    }
  }
  if (thread) thread.mark = null;
  return true;
}

function speak(room, text) {
  if (!post({ say: text, room })) return false;
  sent.add(room, "said", text.trim(), link.pings + 1);
  return true;
}

function act(line, room) {
  if (/^\/join\s/i.test(line)) state.joining = true;
  if (/^\/quit\b/i.test(line)) {
    memory.clear();
    const isSent = post({ do: line });
    setTimeout(() => link.end(), 200);
    return isSent;
  }
  const isSent = post({ do: line, room });
  const action = /^\/me\s+(.*)/isu.exec(line);
  if (isSent && action && room) sent.add(room, "action", action[1].trim(), link.pings + 1);
  if (/^\/(away|nick|op|deop)\b/i.test(line)) refresh();
  if (/^\/(join|leave)\b/i.test(line)) asks.put({ ask: "rooms" });
  return isSent;
}

/** Sends a message that is not too long. */
function post(message) {
  const bytes = new TextEncoder().encode(JSON.stringify(message)).length;
  if (bytes > lineMax) {
    inform(say("too_long", bytes, lineMax), "alert");
    return false;
  }
  return link.send(message);
}

function remember() {
  const seen = {};
  for (const thread of state.threads.values()) {
    if (thread.kind === "room" && thread.last) seen[thread.name] = thread.last;
  }
  if (state.token) memory.save({ token: state.token, name: state.name, seen });
}
