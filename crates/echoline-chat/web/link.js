// The connection to the server. It is reopened automatically, and tested if it may be dead.

const PING_EVERY = 20_000;
const PONG_WITHIN = 15_000;
/**
 * The time limit for the answer to a test. A test is sent after the computer was asleep, and when
 * the page becomes visible.
 */
const PROBE_WITHIN = 4_000;
/** A connection that gets no welcome message within this time is opened again. */
const OPEN_WITHIN = 15_000;
/** The interval between two checks whether the computer was asleep, in milliseconds. */
const TICK = 5_000;
const WAIT_FIRST = 500;
const WAIT_MOST = 30_000;

/**
 * Has at most one WebSocket at a time. `hello()` returns the first message of each connection.
 * `serverMessage(message)` receives every message. `changed(state, seconds)` receives the state:
 * connecting, open, waiting or ended.
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

  /** Sends a message. Returns false if there is no connection. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Closes the connection until `open` is called again. */
  end() {
    this.ended = true;
    this.drop();
    this.changed("ended");
  }

  /** Reconnects at once if the connection is lost. */
  hurry() {
    if (!this.ended && !this.socket) this.open();
  }

  /** Tests the connection. The answer must arrive within a few seconds. */
  probe() {
    if (this.ended) return;
    if (!this.socket) return this.open();
    const isOpen = this.socket.readyState === WebSocket.OPEN;
    if (isOpen) this.ping(PROBE_WITHIN);
    else if (Date.now() - this.opened > PROBE_WITHIN) this.open();
  }

  /** Detects whether the computer was asleep: timers stop meanwhile. */
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
    // The wait is random, so that a thousand pages do not reconnect at the same moment.
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
