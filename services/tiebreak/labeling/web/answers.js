// How each kind of answer is given. An editor draws below (or over) what is to be decided and takes the keys that are its own; where
// answers are single classes the page needs none. `done` is told the answer: a class by its name, or JSON.

import { boxes } from "./boxes.js";
import { classKeys } from "./keys.js";
import { element } from "./elements.js";
import { spans } from "./spans.js";

const $ = (id) => document.getElementById(id);

/** Buttons of the classes, each with its key; `press(name, button)` when one is chosen. */
export function labelButtons(names, press, hints = classKeys(names)) {
  return names.map((name, i) => {
    const button = element("button", { type: "button", className: "choice" });
    if (hints[i]) button.appendChild(element("kbd", { text: hints[i] }));
    button.appendChild(element("span", { text: name }));
    button.addEventListener("click", () => press(name, button));
    return button;
  });
}

/** A button that sends the answer, with what Enter does. */
export function sendButton(text, send) {
  const button = element("button", { type: "button", className: "primary send" });
  button.append(element("span", { text }), element("kbd", { text: "enter" }));
  button.addEventListener("click", send);
  return button;
}

export function classOfKey(names, key) {
  const i = classKeys(names).indexOf(key);
  return i < 0 ? null : names[i];
}

function multi(info, done) {
  const { minItems = 0, maxItems = info.classes.length } = info.answer_schema;
  let chosen = new Set();
  const send = () => { if (chosen.size >= minItems && chosen.size <= maxItems) done(info.classes.filter((name) => chosen.has(name))); };
  const toggle = (name) => {
    if (!chosen.delete(name) && chosen.size < maxItems) chosen.add(name);
    draw();
  };
  const draw = () => {
    const buttons = labelButtons(info.classes, toggle);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(chosen.has(info.classes[i]))));
    const some = chosen.size || minItems; // where none is no answer, the button does not offer it
    const button = sendButton(some ? `Send ${chosen.size} of ${info.classes.length}` : "None of them", send);
    button.disabled = chosen.size < minItems;
    const bounds = minItems === maxItems ? `${minItems}` : minItems ? `${minItems} to ${maxItems}` : `${maxItems} at most`;
    const bounded = minItems || maxItems < info.classes.length;
    const hint = element("p", { className: "faint marks hint", text: `Choose ${bounds}.`, hidden: !bounded });
    $("classes").replaceChildren(...buttons, hint, button);
  };
  return {
    mount() { chosen = new Set(); draw(); },
    load(value) { chosen = new Set(value); draw(); },
    key(event) {
      const name = classOfKey(info.classes, event.key);
      if (event.key === "Enter") send();
      else if (name) toggle(name);
      else return false;
      return true;
    },
  };
}

function numeric(info, done) {
  const { minimum, maximum } = info.answer_schema;
  const { step, unit } = info.answer_schema["x-tiebreak"];
  const stride = step || (maximum - minimum) / 100;
  let typed = "";
  let loaded = false; // what is typed next is a number of one's own
  const number = () => (typed === "" || Number.isNaN(Number(typed)) ? null : Number(typed));
  const wrong = () => {
    const n = number();
    if (n === null) return "Type a number, or use the arrows.";
    if (n < minimum || n > maximum) return `From ${minimum} to ${maximum}.`;
    const steps = (n - minimum) / (step || 1);
    return step && Math.abs(steps - Math.round(steps)) > 1e-6 ? `In steps of ${step}.` : "";
  };
  const send = () => (wrong() ? draw() : done(number()));
  const move = (by) => {
    const n = Math.min(maximum, Math.max(minimum, (number() ?? minimum - Math.min(0, by)) + by));
    typed = String(Number(n.toFixed(9)));
    draw();
  };
  const draw = () => {
    const shown = element("output", { className: "number", text: typed === "" ? "–" : typed });
    if (unit) shown.appendChild(element("small", { text: ` ${unit}` }));
    const slider = element("input", { type: "range", min: minimum, max: maximum, step: step || "any", value: number() ?? minimum, ariaLabel: "The number" });
    slider.addEventListener("input", () => { typed = slider.value; shown.firstChild.textContent = typed; });
    slider.addEventListener("change", draw);
    const ends = element("p", { className: "faint ends" });
    ends.append(element("span", { text: String(minimum) }), element("span", { text: wrong(), className: "hint" }), element("span", { text: String(maximum) }));
    const box = element("div", { className: "numeric" });
    box.append(shown, slider, ends, sendButton("Send", send));
    $("classes").replaceChildren(box);
  };
  return {
    mount() { [typed, loaded] = ["", false]; draw(); },
    load(value) { [typed, loaded] = [String(value), true]; draw(); },
    key(event) {
      if (/^[0-9.-]$/.test(event.key)) [typed, loaded] = [loaded ? event.key : typed + event.key, false];
      else if (event.key === "Backspace" && typed) typed = typed.slice(0, -1);
      else if (event.key === "ArrowUp" || event.key === "ArrowRight") return move(stride), true;
      else if (event.key === "ArrowDown" || event.key === "ArrowLeft") return move(-stride), true;
      else if (event.key === "Enter") return send(), true;
      else return false;
      draw();
      return true;
    },
  };
}

function ordinal(info, done) {
  return {
    mount() {
      const buttons = labelButtons(info.classes, done);
      $("classes").replaceChildren(...buttons);
      $("classes").classList.add("scale");
    },
    key(event) {
      const name = classOfKey(info.classes, event.key);
      if (name) done(name);
      return Boolean(name);
    },
  };
}

const ARROWS = { ArrowLeft: 0, ArrowRight: 1, ArrowDown: 2 };

function pairwise(info, done) {
  const hints = ["←", "→", "↓"];
  return {
    mount(task) {
      if (task.payload.kind === "table") {
        const panes = element("div", { className: "panes" });
        for (const [i, [name, value]] of task.payload.columns.slice(0, 2).entries()) {
          const pane = element("button", { type: "button", className: "pane", ariaLabel: `${info.classes[i]}: ${value}` });
          pane.append(element("small", { className: "faint", text: name }), element("div", { className: "text", text: String(value ?? "–") }));
          pane.addEventListener("click", () => done(info.classes[i]));
          panes.appendChild(pane);
        }
        $("payload").replaceChildren(panes);
      }
      $("classes").replaceChildren(...labelButtons(info.classes, done, hints));
      $("classes").classList.add("scale");
    },
    key(event) {
      const name = info.classes[ARROWS[event.key]] ?? classOfKey(info.classes, event.key);
      if (name) done(name);
      return Boolean(name);
    },
  };
}

/** What the keys of each kind do, beside those that can be changed. Shown under Help. */
const KEYS = {
  multi: [["0 – 9", "Choose a class, or not"], ["enter", "Send"]],
  numeric: [["0 – 9 . -", "Type the number"], ["↑ ↓", "One step up or down"], ["enter", "Send"]],
  pairwise: [["←", "The left one"], ["→", "The right one"], ["↓", "Neither, where that is offered"]],
  spans: [["← →", "Walk the words"], ["shift ← →", "Take more words"], ["0 – 9", "Mark what is held"], ["delete", "Remove the last mark"], ["enter", "Send"]],
  boxes: [["+", "A box in the middle"], [". ,", "Hold the next or the last box"], ["← → ↑ ↓", "Move what is held"], ["shift + arrows", "Size it"], ["0 – 9", "Give it a class"], ["delete", "Remove it"], ["enter", "Send"]],
};

const IN_REVIEW = [["shift A – Z", "In dispute: take over what A, B, … said, then enter"]];

/** `[[key, what it does]]` for the project's kind of answers; `reviews`: to somebody who settles disputes. */
export const keysOf = (info, reviews) => [...own(info), ...(reviews ? IN_REVIEW : [])];

const own = (info) => KEYS[info?.answer_schema?.["x-tiebreak"]?.kind] ?? [["0 – 9", "Choose a class"]];

const EDITORS = { multi, numeric, ordinal, pairwise, spans, boxes };

/** The editor for the project's kind of answers; null where a class is chosen. */
export function editorOf(info, done) {
  const make = EDITORS[info.answer_schema?.["x-tiebreak"]?.kind];
  return make ? make(info, done, { labelButtons, sendButton, classOfKey }) : null;
}

/** An answer in a few words, for the eye and for a screen reader. */
export function inWords(value) {
  if (typeof value === "string" || typeof value === "number") return String(value);
  if (!value.length) return "None";
  if (typeof value[0] === "string") return value.join(", ");
  return `${value.length} marked: ${[...new Set(value.map(({ label }) => label))].join(", ")}`;
}
