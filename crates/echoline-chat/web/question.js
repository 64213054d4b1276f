// A question with two answers, asked above the message field.

import { $ } from "./view.js";

export class Question {
  constructor() {
    $("question-yes").addEventListener("click", () => this.answer(true));
    $("question-no").addEventListener("click", () => this.answer(false));
    $("question").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.answer(false);
    });
  }

  /** Asks, and resolves to true for yes. A newer question answers this one with no. */
  ask(words, yes, no) {
    this.answer(false);
    $("question-words").textContent = words;
    $("question-yes").textContent = yes;
    $("question-no").textContent = no;
    $("question").hidden = false;
    // Enter, pressed without reading, gives the harmless answer.
    $("question-no").focus();
    return new Promise((resolve) => { this.resolve = resolve; });
  }

  answer(isYes) {
    $("question").hidden = true;
    this.resolve?.(isYes);
    this.resolve = null;
  }
}
