// The field in which one writes, and what it offers.

import { complete } from "./commands.js";
import { $, make } from "./view.js";
import { purpose, say } from "./words.js";

export class Composer {
  constructor(state, { submit }) {
    Object.assign(this, { state, submit, field: $("input"), offered: null, chosen: 0 });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.field.addEventListener("keydown", (event) => this.press(event));
    this.field.addEventListener("input", () => {
      this.grow();
      this.offer(this.field.value.startsWith("/") && !/\s/.test(this.field.value));
    });
    this.field.addEventListener("blur", () => setTimeout(() => this.close(), 150));
  }

  get thread() { return this.state.threads.get(this.state.current); }

  keep() {
    if (this.thread) this.thread.draft = this.field.value;
  }

  bring() {
    this.field.value = this.thread?.draft ?? "";
    this.field.placeholder = say("placeholder", this.thread?.name ?? "");
    this.grow();
    this.close();
    // On a phone the keyboard would cover what one wants to read.
    if (matchMedia("(min-width: 801px)").matches) this.field.focus();
  }

  send() {
    const text = this.field.value;
    if (!text.trim() || !this.submit(text)) return;
    // A command may have turned to another thread, whose draft is there now.
    if (this.field.value === text) this.field.value = "";
    this.grow();
    this.close();
  }

  grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight + 2}px`;
  }

  press(event) {
    if (event.isComposing) return;
    if (this.offered && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      return this.choose(this.chosen + (event.key === "ArrowDown" ? 1 : -1));
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

  /** Takes what is offered; where nothing is, Tab goes on to the next element as ever. */
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
      people: [...(this.thread?.people?.keys() ?? [])],
      rooms: [...this.state.others.map((room) => room.room), ...this.joined()],
    };
    this.offered = wanted ? complete(value, selectionStart, known, purpose) : null;
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
    this.close();
  }

  close() {
    this.offered = null;
    $("choices").hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.field.removeAttribute("aria-activedescendant");
  }
}
