// Summarizes consecutive joins and leaves in one sentence. No DOM here.

import { PRESENCE } from "./chat.js";

const NAMES_MAX = 5;

/** Returns whether this line may be folded together with others. */
export const folds = (line) => PRESENCE.has(line.kind);

/**
 * Summarizes joins and leaves as `[{ key, names, more }]`, where `key` is a key of `words.js`. A
 * user who joined and left again is named only once.
 */
export function summary(lines) {
  const people = new Map();
  for (const { kind, name } of lines) {
    const known = people.get(name);
    people.set(name, { first: known?.first ?? kind, last: kind });
  }
  const sums = { fold_joined: [], fold_visit: [], fold_back: [], fold_left: [] };
  for (const [name, { first, last }] of people) {
    const isHere = last === "joined";
    const key = first === "joined" ? (isHere ? "fold_joined" : "fold_visit")
      : (isHere ? "fold_back" : "fold_left");
    sums[key].push(name);
  }
  return Object.entries(sums)
    .filter(([, names]) => names.length)
    .map(([key, names]) => ({
      key, names: names.slice(0, NAMES_MAX), more: Math.max(0, names.length - NAMES_MAX),
    }));
}
