// Boxes on a picture: drag one, or press + for one in the middle and move it with the arrows; a click holds one again. Sizes are shares of the picture.

import { element } from "./elements.js";

const $ = (id) => document.getElementById(id);
const COLOURS = 8;
const LEAST = 0.01;
const STEP = 0.02;
const within = (x, low, high) => Math.min(high, Math.max(low, x));
const rounded = (x) => Number(x.toFixed(5));

/** A box over the picture; its sizes are shares of it. */
export function boxOver(mark, className, text) {
  const box = element("i", { className: `box ${className}` });
  box.appendChild(element("b", { text }));
  const sides = { left: mark.x, top: mark.y, width: mark.width, height: mark.height };
  for (const [side, share] of Object.entries(sides)) box.style[side] = `${share * 100}%`;
  return box;
}

export function boxes(info, done, { labelButtons, sendButton, classOfKey }) {
  let marks = [];
  let label = info.classes[0];
  let held = -1;
  let began = null;

  const colour = (name) => `mark-${info.classes.indexOf(name) % COLOURS}`;
  const send = () => done(marks.map(({ x, y, width, height, label }) => {
    const [left, top] = [rounded(x), rounded(y)];
    return { x: left, y: top, width: rounded(Math.min(width, 1 - left)), height: rounded(Math.min(height, 1 - top)), label };
  }));

  function pointOf(event) {
    const frame = $("payload").querySelector(".frame").getBoundingClientRect();
    return { x: within((event.clientX - frame.left) / frame.width, 0, 1), y: within((event.clientY - frame.top) / frame.height, 0, 1) };
  }

  function between(a, b) {
    return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y), label };
  }

  function drawBoxes(growing = null) {
    const layer = $("payload").querySelector(".layer");
    if (!layer) return;
    const all = [...marks, ...(growing ? [growing] : [])];
    layer.replaceChildren(...all.map((mark, i) => boxOver(mark, `${colour(mark.label)}${i === held ? " held" : ""}`, mark.label)));
  }

  function draw() {
    drawBoxes();
    const buttons = labelButtons(info.classes, choose);
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", String(info.classes[i] === label));
      button.classList.add(colour(info.classes[i]));
    });
    const list = element("p", { className: "faint marks", text: marks.length ? "" : "Drag over the picture, or press +, then arrows to move and shift + arrows to size. A click takes a box in hand again." });
    marks.forEach((mark, i) => {
      const chip = element("button", { type: "button", className: `chip ${colour(mark.label)}`, text: `${mark.label} ×`, ariaLabel: `Remove box ${i + 1}: ${mark.label}` });
      chip.addEventListener("click", () => remove(i));
      list.appendChild(chip);
    });
    $("classes").replaceChildren(...buttons, list, sendButton(marks.length ? `Send ${marks.length}` : "Nothing to mark", send));
  }

  function choose(name) {
    label = name;
    if (held >= 0) marks[held].label = name;
    draw();
  }

  function add(mark) {
    marks.push(mark);
    held = marks.length - 1;
    draw();
  }

  /** A click, or `.` and `,`, takes a box in hand again: what moves, sizes, names or deletes one means that one. */
  function hold(i) {
    if (i >= 0) [held, label] = [i, marks[i].label];
    draw();
  }

  function remove(i) {
    marks.splice(i, 1);
    held = marks.length - 1;
    draw();
  }

  function nudge(dx, dy, size) {
    const m = marks[held];
    if (size) {
      m.width = within(m.width + dx, LEAST, 1 - m.x);
      m.height = within(m.height + dy, LEAST, 1 - m.y);
    } else {
      m.x = within(m.x + dx, 0, 1 - m.width);
      m.y = within(m.y + dy, 0, 1 - m.height);
    }
    draw();
  }

  function frame() {
    const image = $("payload").querySelector("img");
    if (!image) return;
    const box = element("div", { className: "frame" });
    image.draggable = false;
    image.replaceWith(box);
    box.append(image, element("div", { className: "layer" }));
    box.addEventListener("pointerdown", (event) => { event.preventDefault(); began = pointOf(event); box.setPointerCapture(event.pointerId); });
    box.addEventListener("pointermove", (event) => { if (began) drawBoxes(between(began, pointOf(event))); });
    box.addEventListener("pointerup", (event) => {
      const mark = began && between(began, pointOf(event));
      began = null;
      if (mark && mark.width >= LEAST && mark.height >= LEAST) add(mark);
      else if (mark) hold(marks.findLastIndex((m) => m.x <= mark.x && mark.x <= m.x + m.width && m.y <= mark.y && mark.y <= m.y + m.height));
    });
  }

  const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  return {
    mount() { [marks, held, began] = [[], -1, null]; frame(); draw(); },
    load(value) { [marks, held] = [value.map((mark) => ({ ...mark })), -1]; draw(); },
    key(event) {
      const name = classOfKey(info.classes, event.key);
      if (event.key === "Enter") send();
      else if (event.key === "+") add({ x: 0.35, y: 0.35, width: 0.3, height: 0.3, label });
      else if (ARROWS[event.key] && held >= 0) nudge(...ARROWS[event.key], event.shiftKey);
      else if (event.key === "." && marks.length) hold((held + 1) % marks.length);
      else if (event.key === "," && marks.length) hold((held + marks.length - 1) % marks.length);
      else if (event.key === "Delete" && held >= 0) remove(held);
      else if (name) choose(name);
      else return false;
      return true;
    },
  };
}
