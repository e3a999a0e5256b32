// Which key does what. Prodigy's keys, since hands know them; each can be changed and is remembered on this computer.

const STORE = "tiebreak.keys";

export const ACTIONS = {
  accept: { key: "a", says: "First class, where there are two", classes: true },
  reject: { key: "x", says: "Second class, where there are two", classes: true },
  skip: { key: " ", says: "Skip" },
  undo: { key: "Backspace", says: "Undo the last answer" },
  flag: { key: "f", says: "Flag for a reviewer" },
  note: { key: "n", says: "Add a note" },
  search: { key: "/", says: "Find or add a class", classes: true },
  gold: { key: "g", says: "Gold, for reviewers", reviewers: true },
  help: { key: "h", says: "This help" },
};

const NAMES = { " ": "space", Backspace: "backspace", Enter: "enter", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

export const nameOf = (key) => NAMES[key] ?? key;

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "{}");
  } catch {
    return {};
  }
}

/** Key by action: the defaults with what was changed. */
export function bindings() {
  const changed = stored();
  return Object.fromEntries(Object.entries(ACTIONS).map(([action, { key }]) => [action, typeof changed[action] === "string" ? changed[action] : key]));
}

/** Give an action another key. A key that does something else changes places with it; a digit always means a class. */
export function rebind(action, key) {
  if (/^[0-9]$/.test(key)) return false;
  const now = bindings();
  const other = Object.keys(now).find((name) => now[name] === key);
  if (other) now[other] = now[action];
  now[action] = key;
  localStorage.setItem(STORE, JSON.stringify(now));
  return true;
}

export function resetKeys() {
  localStorage.removeItem(STORE);
}

const isDigit = (name) => /^[0-9]$/.test(name);

/** The key of each class: its place; but where classes are digits, those digits and no others (hands would go astray). */
export function classKeys(classes) {
  if (classes.some(isDigit)) return classes.map((name) => (isDigit(name) ? name : ""));
  return classes.map((_, i) => (i < 9 ? String(i + 1) : i === 9 ? "0" : ""));
}
