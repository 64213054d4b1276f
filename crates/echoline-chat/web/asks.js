// Questions to the server, one after the other: it counts them as it counts lines.

const ANSWER_WITHIN = 10_000;

export class Asks {
  constructor(send) {
    this.send = send;
    this.waiting = [];
    this.asked = null;
  }

  /** Asks when the questions before it are answered; what waits already is not asked twice. */
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

  /** The connection is another one. */
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
