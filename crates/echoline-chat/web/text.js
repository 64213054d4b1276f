// Finds links and names in a text. No DOM here.

const LINK = /\bhttps?:\/\/[^\s<>"\u0000-\u001f]+/giu;
const PAIRS = { ")": "(", "]": "[", "}": "{" };
const HUES = 12;

/** Splits a text into strings and links `{ text, href }`. Only http and https become links. */
export function parts(text) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = withoutSentenceEnd(match[0]);
    const href = address(shown);
    if (!href) continue;
    if (match.index > end) found.push(text.slice(end, match.index));
    found.push({ text: shown, href });
    end = match.index + shown.length;
  }
  if (end < text.length) found.push(text.slice(end));
  return found;
}

/** Removes punctuation of the sentence from the end of a link: a full stop, an unpaired bracket. */
function withoutSentenceEnd(text) {
  const counts = {};
  for (const letter of text) counts[letter] = (counts[letter] ?? 0) + 1;
  let end = text.length;
  for (; end > 0; end -= 1) {
    const last = text[end - 1];
    const open = PAIRS[last];
    const isUnpaired = open && counts[last] > (counts[open] ?? 0);
    if (!isUnpaired && !/[.,;:!?'*_~»”’…]/u.test(last)) break;
    counts[last] -= 1;
  }
  return text.slice(0, end);
}

/** Returns the address of a link, or null if a user could mistake it for another address. */
function address(text) {
  try {
    const url = new URL(text);
    const isPlain = ["http:", "https:"].includes(url.protocol) && !url.username && !url.password;
    return isPlain && url.hostname ? url.href : null;
  } catch {
    return null;
  }
}

/** Returns whether `text` contains `name` as a separate word. */
export function mentions(text, name) {
  const [long, short] = [text.toLowerCase(), name.toLowerCase()];
  const letter = /[\p{L}\p{N}\p{M}_-]/u;
  for (let at = long.indexOf(short); at >= 0; at = long.indexOf(short, at + 1)) {
    // The neighbouring characters, each of one or two code units.
    const before = [...long.slice(Math.max(0, at - 2), at)].pop() ?? " ";
    const end = at + short.length;
    const after = [...long.slice(end, end + 2)][0] ?? " ";
    if (!letter.test(before) && !letter.test(after)) return true;
  }
  return false;
}

/** Returns the colour class of a name. The same name always gets the same (FNV-1a hash). */
export function hue(name) {
  let hash = 0x811c9dc5;
  for (const letter of name.toLowerCase()) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return `hue-${(hash >>> 0) % HUES}`;
}
