// The connection: opened again by itself, and tested when it may be dead.

const PING_EVERY = 20_000;
const PONG_WITHIN = 15_000;
/** After a sleep, or when the page is looked at again, an answer has to come faster. */
const PROBE_WITHIN = 4_000;
/** A connection that is not welcomed within this time is tried again. */
const OPEN_WITHIN = 15_000;
/** Milliseconds between two checks whether the machine has slept. */
const TICK = 5_000;
const WAIT_FIRST = 500;
const WAIT_MOST = 30_000;

/**
 * Holds one WebSocket at a time. `hello()` is the first message of each; `serverMessage(message)`
 * gets every message; `changed(state, seconds)` says how it is: connecting, open, waiting, ended.
 */
export class Link {
  constructor({ hello, serverMessage, changed }) {
    Object.assign(this, { hello, serverMessage, changed });
    this.socket = null;
    this.failures = 0;
    this.pings = 0;
    this.ponged = 0;
    this.ended = true;
    for (const name of ["online", "pageshow"]) addEventListener(name, () => this.probe());
    for (const name of ["visibilitychange", "resume"]) {
      document.addEventListener(name, () => document.hidden || this.probe());
    }
    this.tick = Date.now();
    setInterval(() => this.noticeSleep(), TICK);
  }

  open() {
    this.ended = false;
    this.drop();
    this.changed("connecting");
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    this.opened = Date.now();
    this.deadline = setTimeout(() => this.wait(), OPEN_WITHIN);
    socket.onopen = () => {
      this.send(this.hello());
      this.beat = setInterval(() => this.ping(), PING_EVERY);
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.kind === "pong") {
        this.ponged = message.ping;
        clearTimeout(this.deadline);
      } else if (message.kind === "welcome") {
        this.failures = 0;
        clearTimeout(this.deadline);
        this.changed("open");
      }
      this.serverMessage(message);
    };
    socket.onclose = () => socket === this.socket && this.wait();
  }

  /** Sends; returns whether there was a connection to send on. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Ends the connection until `open` is called. */
  end() {
    this.ended = true;
    this.drop();
    this.changed("ended");
  }

  /** Tries again now if the connection is lost. */
  hurry() {
    if (!this.ended && !this.socket) this.open();
  }

  /** Finds out within seconds whether the connection works. */
  probe() {
    if (this.ended) return;
    if (!this.socket) return this.open();
    const isOpen = this.socket.readyState === WebSocket.OPEN;
    if (isOpen) this.ping(PROBE_WITHIN);
    else if (Date.now() - this.opened > PROBE_WITHIN) this.open();
  }

  /** Timers stand still while the machine sleeps. */
  noticeSleep() {
    const now = Date.now();
    if (now - this.tick > 2 * TICK && !document.hidden) this.probe();
    this.tick = now;
  }

  ping(within = PONG_WITHIN) {
    this.pings += 1;
    if (!this.send({ ping: this.pings })) return;
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.wait(), within);
  }

  wait() {
    this.drop();
    if (this.ended) return;
    const most = Math.min(WAIT_MOST, WAIT_FIRST * 2 ** this.failures);
    this.failures += 1;
    // By chance, so that a thousand pages do not come back in one moment.
    const until = performance.now() + most * (0.5 + Math.random() / 2);
    const tick = () => {
      const left = until - performance.now();
      if (left <= 0) return this.open();
      this.changed("waiting", Math.ceil(left / 1000));
      this.timer = setTimeout(tick, Math.min(left, 1000));
    };
    tick();
  }

  drop() {
    clearInterval(this.beat);
    clearTimeout(this.deadline);
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }
}
