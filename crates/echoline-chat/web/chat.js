// The threads of the page: rooms and private dialogues, with their lines and users. No DOM here.

const LINES_MAX = 2000;
const SENT_MAX = 50;
export const SPOKEN = new Set(["said", "action"]);
/** The kinds of lines that announce a join or a leave. */
export const PRESENCE = new Set(["joined", "left"]);

/** A room, a private dialogue, or the server's messages that belong to no room. */
export class Thread {
  /** `id` is the id of the other user in a private dialogue. */
  constructor(kind, name, id) {
    this.kind = kind;
    this.name = name;
    this.id = id;
    /** Whether the other user of a private dialogue has left the chat. */
    this.gone = false;
    this.lines = [];
    /** The number and the time of the last line received. The server continues after it. */
    this.last = null;
    this.topic = "";
    /** The users by name, or null until the server has sent them. */
    this.people = null;
    this.count = 0;
    this.unread = 0;
    this.mentions = 0;
    /** The last line that was read: the mark for unread lines comes after it. */
    this.mark = null;
    /** After a reload: the number of the last line that was read, until that line is loaded. */
    this.markNumber = null;
    /** Whether the server may have earlier lines. */
    this.more = kind === "room";
    this.draft = "";
    /** The texts that the user sent in this thread, the oldest first. */
    this.sent = [];
  }

  get key() { return key(this.kind, this.id ?? this.name); }

  /** Adds a line. Returns false if the thread already has it. */
  add(line) {
    if (line.number !== undefined) {
      if (this.last && line.number <= this.last[0]) return false;
      this.last = [line.number, line.time_ms];
    }
    this.lines.push(line);
    this.findMark([line]);
    if (this.lines.length > LINES_MAX) {
      this.lines.splice(0, LINES_MAX / 4);
      this.more = this.kind === "room";
    }
    return true;
  }

  /** The number of the first line in the thread. */
  get first() { return this.lines.find((line) => line.number !== undefined)?.number; }

  /** Inserts earlier lines at the beginning. Returns the lines that were new. */
  addBefore(lines) {
    const first = this.first ?? Infinity;
    const earlier = lines.filter((line) => line.number < first);
    this.lines.unshift(...earlier);
    this.findMark(earlier);
    if (!this.last && earlier.length) {
      const { number, time_ms } = earlier[earlier.length - 1];
      this.last = [number, time_ms];
    }
    return earlier;
  }

  findMark(lines) {
    const found = this.markNumber !== null && lines.find((line) => line.number === this.markNumber);
    if (found) Object.assign(this, { mark: found, markNumber: null });
  }

  /** Removes all lines, because their room no longer exists on the server. */
  renew() {
    this.last = null;
    this.lines = [];
    this.more = true;
    this.mark = null;
    this.markNumber = null;
  }

  /** Remembers a sent text, so that the user can recall it and send it again. */
  keepSent(text) {
    this.sent = [...this.sent.filter((other) => other !== text), text].slice(-SENT_MAX);
  }

  /** Removes the text of a deleted line. Returns whether the thread has the line. */
  erase(number) {
    const line = this.lines.find((line) => line.number === number);
    if (line) line.text = "[deleted]";
    return Boolean(line);
  }

  /** Updates the topic and the users according to this line. */
  follow(line) {
    if (line.kind === "topic") this.topic = line.text;
    if (!this.people) return;
    if (line.kind === "joined" && !this.people.has(line.name)) {
      this.people.set(line.name, {});
      this.count += 1;
    } else if (line.kind === "left" && this.people.delete(line.name)) {
      this.count -= 1;
    } else if (line.kind === "renamed") {
      const person = this.people.get(line.name) ?? {};
      this.people.delete(line.name);
      this.people.set(line.text, person);
    }
  }
}

/** Returns a line as the user typed it. (The text `/x` is typed as `//x`.) */
export const typed = (kind, text) =>
  kind === "action" ? `/me ${text}` : text.startsWith("/") ? `/${text}` : text;

const SIGNS = { room: "#", private: "@", server: "!" };

/** Identifies a thread: a room by its name, a private dialogue by the id of the other user. */
export const key = (kind, name) => SIGNS[kind] + name;

/** Splits a text at every line or paragraph separator, and leaves out blank lines. */
export const linesOf = (text) =>
  text.split(/\r\n|[\n\r\v\f\u001c-\u001e\u0085\u2028\u2029]/).filter((line) => line.trim());
