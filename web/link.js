// The connection: opened again by itself, and noticed when it is dead.

const PING_EVERY = 20_000;
const PONG_WITHIN = 15_000;
const WAIT_FIRST = 500;
const WAIT_MOST = 30_000;

/**
 * Holds one WebSocket at a time. `hello()` is the first message of each; `told(message)` gets every
 * message; `changed(state, seconds)` says how it is: connecting, open, waiting, ended.
 */
export class Link {
  constructor({ hello, told, changed }) {
    Object.assign(this, { hello, told, changed });
    this.socket = null;
    this.failures = 0;
    this.pings = 0;
    this.ponged = 0;
    this.ended = true;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  open() {
    this.ended = false;
    this.drop();
    this.changed("connecting");
    const address = new URL("/ws", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
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
        this.changed("open");
      }
      this.told(message);
    };
    socket.onclose = () => socket === this.socket && this.wait();
  }

  /** Sends; whether there was a connection to send on. */
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** No more: until `open` is called. */
  end() {
    this.ended = true;
    this.drop();
    this.changed("ended");
  }

  /** The next try is now. */
  hurry() {
    if (!this.ended && !this.socket) this.open();
  }

  ping() {
    this.pings += 1;
    if (!this.send({ ping: this.pings })) return;
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.wait(), PONG_WITHIN);
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
