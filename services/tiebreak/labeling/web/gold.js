// For reviewers: settled tasks of which people are sure, to make gold of or not. A dialog over the work, with the page's keys.

import { api } from "./api.js";
import { bindings } from "./keys.js";
import { payload } from "./view.js";

const $ = (id) => document.getElementById(id);
const ROLES = ["reviewer", "manager", "admin"];
const NOTHING = "Nothing is proposed now: no settled task is sure enough that is not gold or declined already.";

let project = "";
let waiting = [];
let sending = false;

export const mayReview = (info) => ROLES.includes(info?.you.role);
export const isOpen = () => $("gold").open;

export async function open(name) {
  project = name;
  waiting = [];
  draw("One moment.");
  $("gold").showModal();
  try {
    waiting = (await api.proposals(project)).proposals;
    draw(NOTHING);
  } catch (problem) {
    draw(problem.message);
  }
}

/** The first that waits; `otherwise` where there is none. */
function draw(otherwise) {
  const [first] = waiting;
  $("gold-one").hidden = !first;
  $("gold-said").textContent = first ? "" : otherwise;
  if (!first) return;
  $("gold-payload").replaceChildren(payload(first.payload));
  $("gold-answer").textContent = `${first.votes} people said “${first.answer}”, nobody anything else. ${waiting.length - 1} more to look at.`;
  $("gold-reason").value = "";
  $("gold").focus();
}

const does = {
  accept: () => decide((one, reason) => api.keepGold(project, { task_id: one.task_id, answer: one.answer, reason })),
  reject: () => decide((one, reason) => api.declineGold(project, one.task_id, { reason })),
  skip: () => decide(async () => {}),
};

async function decide(send) {
  if (!waiting.length || sending) return;
  sending = true;
  let said = "";
  try {
    await send(waiting[0], $("gold-reason").value.trim());
    waiting.shift();
  } catch (problem) {
    said = problem.message;
    if (!problem.passing) waiting.shift();
  }
  sending = false;
  draw(NOTHING);
  if (said) $("gold-said").textContent = said;
}

/** Keys while the dialog is open: those of the page, and Enter ends the reason. */
export function onKey(event) {
  if (event.target instanceof HTMLInputElement) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    return $("gold").focus();
  }
  if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
  const action = Object.entries(bindings()).find(([name, key]) => does[name] && key.toLowerCase() === event.key.toLowerCase())?.[0];
  if (!action || event.repeat) return;
  event.preventDefault();
  does[action]();
}

for (const action of Object.keys(does)) $(`gold-${action}`).addEventListener("click", does[action]);
