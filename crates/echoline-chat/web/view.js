// Creates elements of the page. Text of users becomes text nodes and links, never markup.

import { day, hour, names, say, second } from "./words.js";
import { translated, translatedReason } from "./sentences.js";
import { SPOKEN } from "./chat.js";
import { summary } from "./folding.js";
import { hue, parts } from "./text.js";

export const $ = (id) => document.getElementById(id);

/** Creates an element with these properties and children. A child that is a string becomes text. */
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

/** Sets the page's own texts in the user's language. */
export function translate(language) {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = say(element.dataset.words);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
}

/** Returns an element for a text, with clickable links. */
function textElement(text) {
  const link = (part) => make("a", {
    href: part.href, title: part.href, target: "_blank", rel: "noopener noreferrer",
  }, part.text);
  const children = parts(text).map((part) => (typeof part === "string" ? part : link(part)));
  return make("span", { className: "text" }, ...children);
}

const nameElement = (name, extra = "") => make("b", { className: `who ${hue(name)}${extra}` }, name);

/** Returns the text of a line that is not said by a user. */
function news({ kind, name, text }) {
  switch (kind) {
    case "joined": return say("joined", name);
    case "left": return text ? say("gone_because", name, translatedReason(text)) : say("gone", name);
    case "renamed": return say("renamed", name, text);
    case "topic": return text ? say("topic_set", name, text) : say("topic_gone", name);
    case "notice": return translated(text);
    default: return text;
  }
}

function stampElement(line, { times }) {
  if (!line.time_ms) return make("span");
  const date = new Date(line.time_ms);
  const title = line.number ? `#${line.number}` : "";
  return make("time", { dateTime: date.toISOString(), title }, times ? second(date) : hour(date));
}

/** Returns the element for a line after the line `before`. `choices` are the display settings. */
export function lineElement(line, before, choices) {
  const spoken = SPOKEN.has(line.kind) || line.kind === "private";
  const isAction = line.kind === "action" || line.action;
  const same = before && before.kind === line.kind && before.name === line.name && !isAction && !before.action;
  const body = make("div");
  if (choices.numbers && line.number) {
    body.append(make("span", { className: "number" }, `#${line.number}`), " ");
  }
  if (isAction) {
    const text = textElement(` ${line.text}`);
    text.prepend("* ", nameElement(line.name));
    body.append(text);
  } else if (spoken) {
    const who = nameElement(line.name, same ? " unseen" : "");
    if (same) who.append(": ");
    body.append(who, same ? "" : " ", textElement(line.text));
  } else {
    body.append(textElement(news(line)));
  }
  for (const { label, act } of line.buttons ?? []) body.append(buttonElement(label, act));
  const classes = [line.kind];
  if (!spoken && line.kind !== "reply" && line.kind !== "alert") classes.push("news");
  if (spoken && !same) classes.push("first");
  if (line.mine) classes.push("own");
  if (line.mentioned) classes.push("mention");
  return make("li", { className: classes.join(" ") }, stampElement(line, choices), body);
}

function buttonElement(label, act) {
  const button = make("button", { type: "button" }, label);
  button.addEventListener("click", () => {
    button.disabled = true;
    act();
  });
  return button;
}

/**
 * Returns the element for several joins and leaves: a sentence, and a button that shows the single
 * lines. Reuses the elements of the row `replaced`, because a busy room has many of them.
 */
export function foldElement(lines, choices, replaced = null) {
  const sentence = summary(lines).map(({ key, names: list, more }) => {
    const shown = names(more ? [...list, say("and_more", more)] : list);
    return say(key, shown);
  }).join("; ");
  const details = replaced?.querySelector("ul") ?? make("ul", { hidden: true });
  details.append(...lines.slice(details.children.length).map((line) =>
    make("li", {}, stampElement(line, choices), textElement(news(line)))));
  const button = make("button", {
    type: "button", "aria-expanded": String(!details.hidden), "aria-label": say("details"),
  }, String(lines.length));
  button.addEventListener("click", () => {
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
  });
  const text = make("span", { className: "text" }, sentence);
  const body = make("div", {}, text, " ", button, details);
  return make("li", { className: "news fold" }, stampElement(lines[lines.length - 1], choices), body);
}

export const markElement = () => make("li", { className: "mark", role: "separator" }, say("new_below"));

/** Returns an element with the date, if `line` is from a different day than `before`. */
export function dayElement(line, before) {
  if (!line.time_ms) return null;
  const [now, then] = [new Date(line.time_ms), before?.time_ms && new Date(before.time_ms)];
  if (then && then.toDateString() === now.toDateString()) return null;
  if (!then && now.toDateString() === new Date().toDateString()) return null;
  return make("li", { className: "day" }, day(now));
}

/** Returns the badge with the number of unread lines, worded for screen readers. */
export function badge(count, hot) {
  if (!count) return null;
  return make("span", { className: hot ? "badge hot" : "badge" },
    make("span", { "aria-hidden": "true" }, count > 99 ? "99+" : String(count)),
    make("span", { className: "unseen" }, say("unread", count)));
}
