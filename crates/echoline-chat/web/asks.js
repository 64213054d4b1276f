// Questions to the server. They are asked one at a time, because each counts against a limit.

const ANSWER_WITHIN = 10_000;

export class Asks {
  constructor(send) {
    this.send = send;
    this.waiting = [];
    this.asked = null;
  }

  /**
   * Asks a question after earlier questions were answered. Drops it if the same question is already
   * waiting.
   */
  put(question) {
    const same = (other) => ["ask", "room", "person", "name", "after"].every((part) => other[part] === question[part]);
    if (this.waiting.some(same)) return;
    this.waiting.push(question);
    this.next();
  }

  answered() {
    clearTimeout(this.deadline);
    this.asked = null;
    this.next();
  }

  /** Drops the questions of an earlier connection. */
  forget() {
    clearTimeout(this.deadline);
    this.waiting = [];
    this.asked = null;
  }

  next() {
    if (this.asked || !this.waiting.length) return;
    this.asked = this.waiting.shift();
    this.send(this.asked);
    this.deadline = setTimeout(() => this.answered(), ANSWER_WITHIN);
  }
}
