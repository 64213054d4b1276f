// Sends the lines and commands of the user.

import { linesOf } from "./chat.js";
import { $ } from "./view.js";
import { say } from "./words.js";

export class Outgoing {
  constructor(page) {
    this.page = page;
    this.state = page.state;
  }

  /** Sends all lines of a text, or none of them. Returns the text that stays in the field. */
  submit(text) {
    const { page, state } = this;
    const thread = state.threads.get(state.current);
    const refuse = (words) => {
      page.inform(words, "alert", thread);
      return text;
    };
    if ($("chat").dataset.state !== "open") return refuse(say("not_connected"));
    const lines = linesOf(text);
    const isForPerson = (line) => /^(?!\/)|^\/\//.test(line) || ["me", "reply"].includes(this.command(line));
    if (thread?.gone && lines.some(isForPerson)) return refuse(say("person_gone_kept", thread.name));
    for (const [place, line] of lines.entries()) {
      const bytes = size(this.message(line, thread));
      if (bytes <= state.maxLine) continue;
      return refuse(lines.length === 1 ? say("too_long", bytes, state.maxLine)
        : say("line_too_long", place + 1, lines.length, bytes, state.maxLine));
    }
    for (const [place, line] of lines.entries()) {
      if (!this.send(line, thread)) return lines.slice(place).join("\n");
    }
    thread?.keepSent(text.trim());
    if (thread) thread.mark = null;
    return "";
  }

  /** Creates the message for one line that was typed in a thread. */
  message(line, thread) {
    const place = thread?.kind === "private" ? { to: thread.id }
      : thread?.kind === "room" ? { room: thread.name } : {};
    if (!line.startsWith("/")) return { say: line, ...place };
    if (line.startsWith("//")) return { say: line.slice(1), ...place };
    return { do: line, ...place };
  }

  /** Sends one line. Returns whether it was sent. */
  send(line, thread) {
    const message = this.message(line, thread);
    if (message.do) return this.act(line, thread, message);
    if (!this.page.link.send(message)) return false;
    this.note(thread, "said", message.say);
    return true;
  }

  act(line, thread, message = this.message(line, thread)) {
    const { page, state } = this;
    const command = this.command(line);
    if (command === "join") state.joining = true;
    if (command === "quit") return this.logOut(message);
    if (!page.link.send(message)) return false;
    const words = /^\S+\s+(.*)/su.exec(line)?.[1];
    if (command === "me" && words) this.note(thread, "action", words);
    if (["away", "nick", "op", "deop"].includes(command)) page.refresh();
    if (["join", "leave"].includes(command)) page.asks.put({ ask: "rooms" });
    return true;
  }

  /** Returns the command of a line, given by its name or by an alias from another chat. */
  command(line) {
    const word = /^\/([^\s/]+)/.exec(line)?.[1].toLowerCase();
    const known = this.state.commands.find(({ name, aliases }) => name === word || aliases?.includes(word));
    return known?.name ?? word;
  }

  /** Remembers a line until the server has sent it back. */
  note(thread, kind, text) {
    if (thread) this.page.sent.add(thread.key, kind, text, this.page.link.pings + 1);
  }

  /** Leaves the chat, and removes all its data from the page. */
  logOut(message = { do: "/quit" }) {
    const { page } = this;
    const isSent = page.link.send(message);
    // The server needs a moment to read the message.
    setTimeout(() => page.leave(), isSent ? 200 : 0);
    return true;
  }
}

const size = (message) => new TextEncoder().encode(JSON.stringify(message)).length;
