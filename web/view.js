// Elements of the page. What anybody wrote comes in as text (`textContent`) and nothing else.

import { day, hour, say } from "./words.js";
import { SPOKEN } from "./chat.js";

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; a child that is a string is text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name.startsWith("data-") || name === "role") {
      element.setAttribute(name, value);
    } else {
      element[name] = value;
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Says everything that the page itself says in the browser's language. */
export function translate(language) {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = say(element.dataset.words);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
}

/** Sentences about who came and went. */
function news({ kind, name, text }) {
  switch (kind) {
    case "joined": return say("joined", name);
    case "left": return text ? say("gone_because", name, text) : say("gone", name);
    case "renamed": return say("renamed", name, text);
    case "topic": return text ? say("topic_set", name, text) : say("topic_gone", name);
    default: return text;
  }
}

/** One line, which comes after `before`. */
export function lineElement(line, before, { mine, mentioned }) {
  const date = line.time_ms && new Date(line.time_ms);
  const stamp = date
    ? make("time", { dateTime: date.toISOString(), title: line.number ? `#${line.number}` : "" }, hour(date))
    : make("span");
  const spoken = SPOKEN.has(line.kind) || line.kind === "private";
  const same = before && before.kind === line.kind && before.name === line.name && line.kind !== "action";
  const body = make("div");
  if (line.kind === "action") {
    body.append(make("span", { className: "text" }, "* ", make("b", { className: "who" }, line.name), " ", line.text));
  } else if (spoken) {
    const who = make("b", { className: same ? "who unseen" : "who" }, line.name + (same ? ": " : ""));
    body.append(who, same ? "" : " ", make("span", { className: "text" }, line.text));
  } else {
    body.append(make("span", { className: "text" }, news(line)));
  }
  if (line.button) body.append(line.button);
  const classes = [line.kind];
  if (!spoken && line.kind !== "reply" && line.kind !== "alert") classes.push("news");
  if (spoken && !same) classes.push("first");
  if (mine) classes.push("own");
  if (mentioned) classes.push("mention");
  if (line.isAhead) classes.push("ahead");
  return make("li", { className: classes.join(" ") }, stamp, body);
}

export const markElement = () => make("li", { className: "mark", role: "separator" }, say("new_below"));

/** The line that begins a day, where `line` is not of the day of `before`. */
export function dayElement(line, before) {
  if (!line.time_ms) return null;
  const [now, then] = [new Date(line.time_ms), before?.time_ms && new Date(before.time_ms)];
  if (then && then.toDateString() === now.toDateString()) return null;
  if (!then && now.toDateString() === new Date().toDateString()) return null;
  return make("li", { className: "day" }, day(now));
}

/** A number that stands for unread lines; for ears in words. */
export function badge(count, hot) {
  if (!count) return null;
  return make("span", { className: hot ? "badge hot" : "badge" },
    make("span", { "aria-hidden": "true" }, count > 99 ? "99+" : String(count)),
    make("span", { className: "unseen" }, say("unread", count)));
}
