// What the page knows: rooms, private threads, lines, who is there. No DOM here.

const LINES_MAX = 2000;
export const SPOKEN = new Set(["said", "action"]);

/** One room, or what is said with one person alone. */
export class Thread {
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    this.lines = [];
    /** Number and time of the last line seen: what to go on after. */
    this.last = null;
    this.topic = "";
    /** By name; null as long as nobody was asked. */
    this.people = null;
    this.count = 0;
    this.unread = 0;
    this.mentions = 0;
    /** The reader has seen everything up to here; lines after it that came unseen are new. */
    this.mark = null;
    /** There may be earlier lines on the server. */
    this.more = kind === "room";
    this.draft = "";
  }

  get key() { return key(this.kind, this.name); }

  /** Takes a line in; false where it was here already. */
  add(line) {
    if (line.number !== undefined) {
      if (this.last && line.number <= this.last[0]) return false;
      this.last = [line.number, line.time_ms];
    }
    this.lines.push(line);
    if (this.lines.length > LINES_MAX) {
      this.lines.splice(0, LINES_MAX / 4);
      this.more = this.kind === "room";
    }
    return true;
  }

  /** Takes the copy of this line out that was shown before it had its number; whether there was one. */
  settleAhead({ kind, name, text }) {
    const place = this.lines.findIndex((line) =>
      line.isAhead && line.kind === kind && line.name === name && line.text === text);
    if (place >= 0) this.lines.splice(place, 1);
    return place >= 0;
  }

  /** The number of the first line that is here. */
  get first() { return this.lines.find((line) => line.number !== undefined)?.number; }

  /** Puts earlier lines before the others; those that were not here. */
  addBefore(lines) {
    const first = this.first ?? Infinity;
    const earlier = lines.filter((line) => line.number < first);
    this.lines.unshift(...earlier);
    if (!this.last && earlier.length) {
      const { number, time_ms } = earlier[earlier.length - 1];
      this.last = [number, time_ms];
    }
    return earlier;
  }

  /** The lines here are of a room that is no more. */
  renew() {
    this.last = null;
    this.lines = [];
    this.more = true;
    this.mark = null;
  }

  /** The words of this line were deleted; whether the line is here. */
  erase(number) {
    const line = this.lines.find((line) => line.number === number);
    if (line) line.text = "[deleted]";
    return Boolean(line);
  }

  /** Who is here after this line. */
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

/** A line as one types it. */
export const typed = (kind, text) => (kind === "action" ? `/me ${text}` : text);

export const key = (kind, name) => (kind === "room" ? "#" : "@") + name;

/** Whether `text` names `name`, as a word of its own. */
export function mentions(text, name) {
  const [long, short] = [text.toLowerCase(), name.toLowerCase()];
  const letter = /[\p{L}\p{N}\p{M}_-]/u;
  for (let at = long.indexOf(short); at >= 0; at = long.indexOf(short, at + 1)) {
    const before = [...long.slice(0, at)].pop() ?? " ";
    const after = [...long.slice(at + short.length)][0] ?? " ";
    if (!letter.test(before) && !letter.test(after)) return true;
  }
  return false;
}

/** What outlives a reload of the page in this tab. */
export const memory = {
  load() {
    try {
      return JSON.parse(sessionStorage.getItem("echoline")) ?? {};
    } catch {
      return {};
    }
  },
  save(what) {
    try {
      sessionStorage.setItem("echoline", JSON.stringify(what));
    } catch { /* A browser that keeps nothing: a reload asks for the name again. */ }
  },
  clear() {
    try {
      sessionStorage.removeItem("echoline");
    } catch { /* As above. */ }
  },
};
