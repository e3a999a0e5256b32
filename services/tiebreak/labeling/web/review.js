// What is in dispute, for the reviewer in whose hands it is: who said what, and a key each to take over what somebody said. Asked
// of the server when a task in review comes and with each heartbeat: an answer may be taken back, or come late, while somebody looks.

import { inWords } from "./answers.js";
import { api } from "./api.js";
import { boxOver } from "./boxes.js";
import { element } from "./elements.js";

const $ = (id) => document.getElementById(id);
const JSON_KINDS = ["multi", "numeric", "spans", "boxes"];
const CORNERS = ["", " right", " right below", " below"]; // of a box, where its person's letter stands
const COLOURS = 8;
const SHARES = 5;
// An answer of a reviewer's that is taken back is in dispute again once the log brought that.
const AGAIN_S = [0.3, 0.7, 1, 2, 4];

let info = null;
let task = null;
let on = null;
let shown = "";
let people = [];
let taken = null;

const kind = () => info.answer_schema?.["x-tiebreak"]?.kind ?? "single";
const read = (value) => (JSON_KINDS.includes(kind()) ? JSON.parse(value) : value);
const colour = (name) => `mark-${Math.max(0, info.classes.indexOf(name)) % COLOURS}`;
const percent = (share) => `${Math.round(share * 100)} %`;
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** The task on the screen is another one; what was in dispute before is gone. `on` is told of what is found. */
export function come(newInfo, newTask, newOn) {
  [info, task, on] = [newInfo, newTask, newOn];
  hide();
  refresh();
}

function hide() {
  [shown, people] = ["", []];
  untake();
  $("dispute").hidden = true;
  for (const list of ["shares", "said"]) $(list).replaceChildren();
  $("payload").querySelector(".ghosts")?.remove();
}

export const leave = () => come(info, null, on);

/** Look (again), where something is in dispute, by the last claim or heartbeat, or was. */
export const refresh = () => { if (task && (shown || task.in_review)) ask(task); };

async function ask(about) {
  for (let tries = 0; about === task; tries += 1) {
    try {
      const said = await api.answers(about.task_id);
      if (about === task) draw(said);
      return;
    } catch (problem) {
      if (about !== task) return;
      if (problem.status === 401) return on.signedOut();
      if (problem.passing) await pause(problem.retryAfterS);
      else if (problem.code !== "not_in_review") return on.lost(about, problem.code);
      else if (about.again && tries < AGAIN_S.length) await pause(AGAIN_S[tries]);
      else return end();
    }
  }
}

/** It is answered blind (again): an answer was taken back, and others are asked. */
function end() {
  if (!shown) return;
  hide();
  on.notice("This one is not in dispute any more. Your answer counts like any other.");
}

function draw(said) {
  const text = JSON.stringify(said);
  if (text === shown) return;
  const before = people;
  shown = text;
  people = said.answers.map((one) => ({ ...one, said: one.state === "skipped" ? null : read(one.value) }));
  const gone = before.filter(({ by }) => !people.some((one) => one.by === by)).map(({ by }) => by);
  if (gone.length) on.notice(`${gone.join(" and ")} took their answer back.`);
  if (taken && gone.includes(taken.by)) untake();
  const answered = people.filter((one) => one.said !== null);
  $("dispute-says").textContent = answered.length ? `${count(answered.length, "answer")}${skipsOf(people)}. What you say settles it.` : `Nobody answered${skipsOf(people)}. What you say settles it.`;
  drawShares(said.so_far);
  $("said").replaceChildren(...people.map(card));
  $("dispute").hidden = false;
  ghosts();
  on.say(`In dispute. ${people.map((one) => `${one.by}: ${one.said === null ? "skipped" : inWords(one.said)}`).join("; ")}`);
}

const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const skipsOf = (all) => {
  const skips = all.filter((one) => one.said === null).length;
  return skips ? `, ${count(skips, "skip")}` : "";
};

function drawShares(soFar) {
  const lines = (soFar?.shares ?? []).slice(0, SHARES).map(({ value, share }) => {
    const line = element("li");
    const bar = element("i", { ariaHidden: "true" });
    bar.style.width = `${Math.max(1, share * 100)}%`;
    const said = read(value);
    if (soFar.consensus !== "agreement") {
      line.append(bar, element("span", { text: said }), element("b", { text: percent(share) }));
      return line;
    }
    const nothing = Array.isArray(said) && !said.length;
    line.append(bar, element("span", { text: `${Array.isArray(said) ? "Most say" : "In the middle"}: ${nothing ? "nothing" : inWords(said)}` }), element("b", { text: `${percent(share)} agree` }));
    if (!nothing) line.appendChild(takeButton("what most say", () => take({ by: "", said })));
    return line;
  });
  $("shares").replaceChildren(...lines);
  $("shares").hidden = !lines.length;
}

function takeButton(whose, press) {
  const button = element("button", { type: "button", className: "quiet take", text: "Take over", ariaLabel: `Take over: ${whose}` });
  button.addEventListener("click", () => { press(); $("main").focus(); });
  return button;
}

function card(one) {
  const box = element("li", { className: "one" });
  const head = element("div", { className: "one-head" });
  head.append(element("b", { className: "who", text: one.by }), ...answer(one.said));
  if (one.said !== null) {
    const button = takeButton(`what ${one.by} said`, () => take(one));
    button.replaceChildren(element("span", { text: "Take over" }), element("kbd", { text: `shift ${one.by}` }));
    head.appendChild(button);
  }
  box.appendChild(head);
  if (one.comment) box.appendChild(element("p", { className: "remark", text: one.comment, tabIndex: one.comment.length > 300 ? 0 : -1 }));
  const facts = element("p", { className: "faint facts" });
  if (one.flagged) facts.appendChild(element("span", { className: "tag", text: "flagged" }));
  if (one.state === "late") facts.appendChild(element("span", { className: "tag", text: "late" }));
  const when = new Date(one.submitted_ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const old = one.answer_schema_version && one.answer_schema_version !== info.answer_schema_version ? `schema ${one.answer_schema_version}` : "";
  const texts = [one.annotator, `${Number(one.lead_time_s.toFixed(1))} s`, when, old].filter(Boolean);
  facts.appendChild(element("span", { text: texts.join(" · ") }));
  box.appendChild(facts);
  return box;
}

/** What one person said, as elements. */
function answer(said) {
  if (said === null) return [element("span", { className: "faint", text: "skipped" })];
  if (!Array.isArray(said)) return [element("span", { className: "what", text: inWords(said) })];
  if (!said.length) return [element("span", { className: "faint", text: "nothing" })];
  const letters = task.payload.kind === "text" ? Array.from(task.payload.text) : [];
  const chips = said.map((part) => {
    const name = part.label ?? part;
    const words = "start" in Object(part) ? `${letters.slice(part.start, part.end).join("").slice(0, 40)} · ` : "";
    return element("span", { className: `chip ${colour(name)}`, text: words + name });
  });
  const box = element("span", { className: "what chips" });
  box.append(...chips);
  return [box];
}

/** Everybody's boxes over the picture, thin, each with its person's letter. */
function ghosts() {
  const frame = $("payload").querySelector(".frame");
  if (!frame || kind() !== "boxes") return;
  frame.querySelector(".ghosts")?.remove();
  const layer = element("div", { className: "ghosts" });
  people.forEach(({ by, said }, i) => {
    for (const mark of said ?? []) layer.appendChild(boxOver(mark, `ghost ${colour(mark.label)}${CORNERS[i % CORNERS.length]}`, by));
  });
  frame.insertBefore(layer, frame.querySelector(".layer"));
}

function take(one) {
  if (!on.load(one.said)) {
    taken = one;
    mark();
  }
  const [send] = $("ask").querySelectorAll(".send");
  send?.scrollIntoView({ block: "nearest" });
}

function untake() {
  taken = null;
  mark();
}

/** Show which class is taken over, and that Enter sends it. Asked again whenever the classes are drawn. */
export function mark() {
  if (info && JSON_KINDS.includes(kind())) return;
  for (const button of $("classes").querySelectorAll(".choice")) {
    if (taken && button.lastChild.textContent === taken.said) button.setAttribute("aria-pressed", "true");
    else if (!taken) button.removeAttribute("aria-pressed");
  }
  $("taken").hidden = !taken;
  if (!taken) return;
  const send = element("button", { type: "button", className: "primary send" });
  send.append(element("span", { text: `Send “${taken.said}”` }), element("kbd", { text: "enter" }));
  send.addEventListener("click", confirm);
  $("taken").replaceChildren(send);
}

function confirm() {
  const { said } = taken;
  untake();
  on.send(said);
}

/** Shift and a letter takes over what that person said; Enter sends a class that was taken over, Escape lets go of it. */
export function key(event) {
  if ($("dispute").hidden || !task) return false;
  const one = event.shiftKey && people.find(({ by, said }) => said !== null && by === event.key.toUpperCase());
  if (one) take(one);
  else if (taken && event.key === "Enter") confirm();
  else if (taken && event.key === "Escape") untake();
  else return false;
  return true;
}
