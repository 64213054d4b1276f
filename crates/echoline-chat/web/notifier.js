// Notifications of the browser, if the user switches them on.

import { $ } from "./view.js";
import { say } from "./words.js";

const STORE = "echoline-notify";

export class Notifier {
  /** `show(key)` shows the thread whose notification the user clicked. */
  constructor({ show }) {
    this.show = show;
    $("notify").addEventListener("click", () => this.toggle());
    $("notify").hidden = !("Notification" in window) || !isSecureContext;
    this.draw();
  }

  get isOn() {
    try {
      return localStorage.getItem(STORE) === "on" && Notification.permission === "granted";
    } catch {
      return false;
    }
  }

  async toggle() {
    const wanted = !this.isOn;
    const isAllowed = !wanted || (await Notification.requestPermission()) === "granted";
    try {
      localStorage.setItem(STORE, wanted && isAllowed ? "on" : "off");
    } catch { /* Without storage, a reload switches notifications off. */ }
    this.draw(isAllowed ? "" : say("notify_blocked"));
  }

  draw(words = "") {
    $("notify").setAttribute("aria-pressed", String(this.isOn));
    $("notify").textContent = say(this.isOn ? "notify_on" : "notify_off");
    $("notify-words").textContent = words;
  }

  /** Notifies a user who does not see the page about a mention or a private line. */
  tell(thread, line) {
    if (!this.isOn || (!document.hidden && document.hasFocus())) return;
    const title = thread.kind === "private" ? line.name : `${line.name} · ${thread.name}`;
    try {
      const notification = new Notification(title, { body: line.text, tag: thread.key });
      notification.onclick = () => {
        window.focus();
        this.show(thread.key);
        notification.close();
      };
    } catch {
      // On Android, only service workers can show notifications.
      this.draw(say("notify_blocked"));
    }
  }
}
