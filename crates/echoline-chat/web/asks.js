// Questions to the server, one at a time, because they count against the flood limit.

const ANSWER_WITHIN = 10_000;

export class Asks {
  constructor(send) {
    this.send = send;
    this.waiting = [];
    this.asked = null;
  }

  /** Asks after the answers to earlier questions. Does not repeat a question that waits. */
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

  /** Forgets the questions of an earlier connection. */
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
