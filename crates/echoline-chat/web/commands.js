// Completes commands, names and rooms. No DOM here.

/**
 * Returns the completions of the word before the cursor, or `null` if there are none:
 * `{ from, list: [{ text, label, note }] }`.
 */
export function complete(text, cursor, { commands, people, rooms }, { purpose, usage }) {
  const before = text.slice(0, cursor);
  const from = before.search(/[^\s]*$/u);
  const word = before.slice(from);
  const starts = (name, part) => name.toLowerCase().startsWith(part.toLowerCase());
  let list = [];
  if (from === 0 && /^\/[a-z]*$/i.test(word)) {
    list = commands
      .filter((command) => starts(command.name, word.slice(1)))
      .map((command) => ({ text: "/" + command.name + " ", label: usage(command), note: purpose(command) }));
  } else if (word) {
    const end = from === 0 ? ", " : " ";
    const names = /^\/(join|leave)\s/i.test(before) ? rooms : people;
    list = names
      .filter((name) => starts(name, word) && name !== word)
      .map((name) => ({ text: name + end, label: name, note: "" }));
  }
  return list.length ? { from, list: list.slice(0, 50) } : null;
}
