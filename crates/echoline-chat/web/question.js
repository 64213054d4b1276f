// A question with two answers, shown above the message field.

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

  /**
   * Asks a question, and resolves to true for yes. A newer question answers an open one with no.
   */
  ask(words, yes, no) {
    this.answer(false);
    $("question-words").textContent = words;
    $("question-yes").textContent = yes;
    $("question-no").textContent = no;
    $("question").hidden = false;
    // Enter gives the harmless answer, because it may be pressed without reading.
    $("question-no").focus();
    return new Promise((resolve) => { this.resolve = resolve; });
  }

  answer(isYes) {
    $("question").hidden = true;
    this.resolve?.(isYes);
    this.resolve = null;
  }
}
