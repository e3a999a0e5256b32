// Marking spans of a text: drag over it, or walk it word by word. Offsets count code points, so that every program counts alike.

import { element } from "./elements.js";

const $ = (id) => document.getElementById(id);
const COLOURS = 8;
const length = (text) => Array.from(text).length;

/** Words of `text` with their places in code points: `[{start, end}]`. */
function wordsOf(text) {
  const found = [];
  for (const match of text.matchAll(/[\p{L}\p{N}_'’-]+|[^\s]/gu)) {
    const start = length(text.slice(0, match.index));
    found.push({ start, end: start + length(match[0]) });
  }
  return found;
}

export function spans(info, done, { labelButtons, sendButton, classOfKey }) {
  let letters = [];
  let words = [];
  let marks = [];
  let label = info.classes[0];
  let from = 0; // the words that the keyboard holds: from..to
  let to = 0;

  const colour = (name) => `mark-${info.classes.indexOf(name) % COLOURS}`;
  const send = () => done(marks.map(({ start, end, label }) => ({ start, end, label })));

  function mark(start, end) {
    if (end <= start) return;
    const same = marks.findIndex((m) => m.start === start && m.end === end);
    if (same >= 0 && marks[same].label === label) marks.splice(same, 1);
    else if (same >= 0) marks[same].label = label;
    else marks.push({ start, end, label });
    marks.sort((a, b) => a.start - b.start || a.end - b.end);
    draw();
  }

  /** The place of a point of the selection, in code points from the start of the text. */
  function placeOf(node, offset) {
    const range = document.createRange();
    range.selectNodeContents($("payload").querySelector(".spans"));
    range.setEnd(node, offset);
    return length(range.toString());
  }

  function selected() {
    const selection = getSelection();
    const box = $("payload").querySelector(".spans");
    if (!box || selection.isCollapsed || !box.contains(selection.anchorNode) || !box.contains(selection.focusNode)) return;
    const ends = [placeOf(selection.anchorNode, selection.anchorOffset), placeOf(selection.focusNode, selection.focusOffset)];
    let [start, end] = ends.sort((a, b) => a - b);
    while (start < end && /\s/.test(letters[start])) start += 1;
    while (end > start && /\s/.test(letters[end - 1])) end -= 1;
    selection.removeAllRanges();
    mark(start, end);
  }

  function draw() {
    const held = words.length ? { start: words[Math.min(from, to)].start, end: words[Math.max(from, to)].end } : { start: 0, end: 0 };
    const cuts = new Set([0, letters.length, held.start, held.end, ...marks.flatMap(({ start, end }) => [start, end])]);
    const places = [...cuts].filter((place) => place <= letters.length).sort((a, b) => a - b);
    const box = element("div", { className: "text spans" });
    for (let i = 0; i + 1 < places.length; i += 1) {
      const [start, end] = [places[i], places[i + 1]];
      const over = marks.filter((m) => m.start <= start && m.end >= end);
      const piece = element(over.length ? "mark" : "span", { text: letters.slice(start, end).join("") });
      if (over.length) {
        piece.className = colour(over.at(-1).label);
        piece.title = over.map((m) => m.label).join(", ");
      }
      if (held.start <= start && held.end >= end) piece.classList.add("held");
      box.appendChild(piece);
    }
    box.addEventListener("mouseup", selected);
    $("payload").replaceChildren(box);
    const buttons = labelButtons(info.classes, (name) => { label = name; draw(); });
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(info.classes[i] === label));
      button.classList.add(colour(info.classes[i]));
    });
    const list = element("p", { className: "faint marks", text: marks.length ? "" : "Drag over the words, or ← → to walk, shift to widen, and a digit to mark." });
    marks.forEach((m, i) => {
      const words = letters.slice(m.start, m.end).join("");
      const chip = element("button", { type: "button", className: `chip ${colour(m.label)}`, text: `${words.slice(0, 30)} · ${m.label} ×`, ariaLabel: `Remove ${m.label}: ${words}` });
      chip.addEventListener("click", () => { marks.splice(i, 1); draw(); });
      list.appendChild(chip);
    });
    $("classes").replaceChildren(...buttons, list, sendButton(marks.length ? `Send ${marks.length}` : "Nothing to mark", send));
  }

  function walk(by, widen) {
    to = Math.min(words.length - 1, Math.max(0, to + by));
    if (!widen) from = to;
    draw();
  }

  return {
    mount(task) {
      const text = task.payload.kind === "text" ? task.payload.text : "";
      [letters, words, marks, from, to] = [Array.from(text), wordsOf(text), [], 0, 0];
      draw();
    },
    load(value) { marks = value.map((mark) => ({ ...mark })); draw(); },
    key(event) {
      const name = classOfKey(info.classes, event.key);
      if (event.key === "Enter") send();
      else if (event.key === "ArrowRight") walk(1, event.shiftKey);
      else if (event.key === "ArrowLeft") walk(-1, event.shiftKey);
      else if (event.key === "Delete" && marks.length) { marks.pop(); draw(); }
      else if (name && words.length) {
        label = name;
        mark(words[Math.min(from, to)].start, words[Math.max(from, to)].end);
      } else return false;
      return true;
    },
  };
}
