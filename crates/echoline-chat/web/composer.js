// The message field and its completions.

import { linesOf } from "./chat.js";
import { complete } from "./commands.js";
import { Question } from "./question.js";
import { $, make } from "./view.js";
import { purpose, say, usage } from "./words.js";

/** The maximum number of lines that are pasted without asking the user. */
const PASTE_MAX = 10;
/** The key code while an input method is active. Safari does not set `isComposing` for Enter. */
const IME = 229;

export class Composer {
  /** `submit(text)` sends a text, and returns the part that stays in the field. */
  constructor(state, { submit, changed }) {
    Object.assign(this, { state, submit, changed, field: $("input"), offered: null, chosen: 0 });
    this.question = new Question();
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.field.addEventListener("keydown", (event) => this.press(event));
    this.field.addEventListener("input", () => {
      this.grow();
      this.keep();
      this.changed();
      this.offer(this.field.value.startsWith("/") && !/\s/.test(this.field.value));
    });
    this.field.addEventListener("paste", (event) => this.paste(event, event.clipboardData));
    this.field.addEventListener("drop", (event) => this.paste(event, event.dataTransfer));
    this.field.addEventListener("blur", () => setTimeout(() => this.close(), 150));
  }

  get thread() { return this.state.threads.get(this.state.current); }

  keep() {
    if (this.thread) this.thread.draft = this.field.value;
  }

  bring() {
    this.field.value = this.thread?.draft ?? "";
    this.name();
    this.question.answer(false);
    this.recalled = null;
    this.grow();
    this.close();
    // Not on a phone, because its keyboard would cover the messages.
    if (matchMedia("(min-width: 801px)").matches) this.field.focus();
  }

  /** Shows in the empty field which room or user the text goes to. */
  name() {
    const { kind, name } = this.thread ?? {};
    const words = say(kind === "private" ? "placeholder_private" : "placeholder", name ?? "");
    this.field.placeholder = words;
    this.field.setAttribute("aria-label", words);
  }

  send() {
    const text = this.field.value;
    if (!text.trim()) return;
    const rest = this.submit(text);
    // If a command switched to another thread, the field now has the draft of that thread.
    if (this.field.value === text) this.fill(rest);
    this.close();
  }

  fill(text) {
    this.field.value = text;
    this.recalled = null;
    this.grow();
    this.keep();
    this.changed();
  }

  /** Puts a text that was not sent back into an empty field. Returns whether it was empty. */
  restore(thread, text) {
    const isFree = !(thread === this.thread ? this.field.value : thread.draft).trim();
    if (!isFree) return false;
    if (thread === this.thread) this.fill(text);
    else thread.draft = text;
    this.changed();
    return true;
  }

  /** Asks the user before inserting many lines, because each line becomes a message. */
  async paste(event, data) {
    const text = data?.getData("text/plain") ?? "";
    const count = linesOf(text).length;
    if (count <= PASTE_MAX) return;
    event.preventDefault();
    const { thread, field } = this;
    const isWanted = await this.question.ask(say("paste", count), say("paste_yes"), say("cancel"));
    if (thread !== this.thread) return;
    field.focus();
    if (!isWanted) return;
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    this.fill(field.value);
  }

  /** Recalls the text that was sent before (`step` -1) or after (`step` 1) the recalled one. */
  recall(step) {
    const sent = this.thread?.sent ?? [];
    const now = this.recalled === null ? sent.length : sent.indexOf(this.recalled);
    const next = sent[now + step];
    if (next === undefined && step < 0) return;
    this.fill(next ?? "");
    this.recalled = next ?? null;
  }

  /** Returns whether an arrow key recalls sent texts instead of moving the cursor. */
  recalls(event) {
    if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return false;
    const { value, selectionStart, selectionEnd } = this.field;
    const isUntouched = this.recalled === null ? value === "" : value === this.recalled;
    if (event.key === "ArrowUp") return isUntouched && !value.slice(0, selectionStart).includes("\n");
    return this.recalled !== null && isUntouched && !value.slice(selectionEnd).includes("\n");
  }

  grow() {
    this.field.style.height = "auto";
    const borders = this.field.offsetHeight - this.field.clientHeight;
    this.field.style.height = `${this.field.scrollHeight + borders}px`;
  }

  press(event) {
    if (event.isComposing || event.keyCode === IME) return;
    if (this.offered && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      return this.choose(this.chosen + (event.key === "ArrowDown" ? 1 : -1));
    }
    if (["ArrowDown", "ArrowUp"].includes(event.key) && this.recalls(event)) {
      event.preventDefault();
      return this.recall(event.key === "ArrowUp" ? -1 : 1);
    }
    if (event.key === "Escape" && this.offered) {
      event.stopPropagation();
      return this.close();
    }
    if (event.key === "Tab" && !event.shiftKey && !event.ctrlKey) return this.tab(event);
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      const chosen = this.offered?.list[this.chosen].text.trim();
      if (chosen && chosen !== this.field.value.trim()) this.take(this.chosen);
      else this.send();
    }
  }

  /** Inserts a completion. If there is none, Tab moves to the next element as usual. */
  tab(event) {
    if (!this.offered) this.offer(true);
    if (!this.offered) return;
    event.preventDefault();
    if (this.offered.list.length === 1 || this.field.value.startsWith("/")) this.take(this.chosen);
    else if (this.cycling) this.choose(this.chosen + 1);
    this.cycling = true;
  }

  offer(wanted) {
    this.cycling = false;
    const { value, selectionStart } = this.field;
    const known = {
      commands: this.state.commands,
      people: this.people,
      rooms: [...this.state.others.map((room) => room.room), ...this.joined()],
    };
    this.offered = wanted ? complete(value, selectionStart, known, { purpose, usage }) : null;
    if (!this.offered) return this.close();
    const list = this.offered.list.map(({ label, note }, place) => {
      const element = make("li", { role: "option", id: `choice-${place}` }, make("span", {}, label), make("small", {}, note));
      element.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        this.take(place);
      });
      return element;
    });
    $("choices").replaceChildren(...list);
    $("choices").hidden = false;
    this.field.setAttribute("aria-expanded", "true");
    this.choose(0);
  }

  joined() {
    return [...this.state.threads.values()].filter((t) => t.kind === "room").map((t) => t.name);
  }

  get people() {
    if (this.thread?.kind === "private") return [this.thread.name];
    return [...(this.thread?.people?.keys() ?? [])];
  }

  choose(place) {
    const count = this.offered.list.length;
    this.chosen = (place + count) % count;
    [...$("choices").children].forEach((child, index) => {
      child.setAttribute("aria-selected", String(index === this.chosen));
      if (index === this.chosen) child.scrollIntoView({ block: "nearest" });
    });
    this.field.setAttribute("aria-activedescendant", `choice-${this.chosen}`);
  }

  take(place) {
    const { from, list } = this.offered;
    const rest = this.field.value.slice(this.field.selectionStart);
    const before = this.field.value.slice(0, from) + list[place].text;
    this.field.value = before + rest;
    this.field.setSelectionRange(before.length, before.length);
    this.keep();
    this.changed();
    this.close();
  }

  close() {
    this.offered = null;
    $("choices").hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.field.removeAttribute("aria-activedescendant");
  }
}
