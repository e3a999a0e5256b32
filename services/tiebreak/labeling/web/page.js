// Joins keyboard, session and view.

import { editorOf, inWords, keysOf } from "./answers.js";
import { adoptToken, forgetToken, setToken } from "./api.js";
import * as gold from "./gold.js";
import { bindings, rebind, resetKeys } from "./keys.js";
import * as review from "./review.js";
import { Session } from "./session.js";
import * as view from "./view.js";

const $ = (id) => document.getElementById(id);
const project = document.querySelector("meta[name=tiebreak-project]").content;

let session = null;
let left = null;
let shown = [];
let editor = null;
let flagged = false;
let noting = false;
let finding = false;
let rebinding = null;
let deafTimer = 0;

// What was on the screen went while somebody looked at it: a key or a click on its way was meant for it, not for what came instead.
const DEAF_MS = 700;
const isDeaf = () => document.body.classList.contains("deaf");
function beDeaf() {
  document.body.classList.add("deaf");
  clearTimeout(deafTimer);
  deafTimer = setTimeout(() => document.body.classList.remove("deaf"), DEAF_MS);
}

const on = {
  ready(info) {
    view.project(info);
    $("open-gold").hidden = !gold.mayReview(info);
    editor = editorOf(info, send);
    view.counted(info.you.answered);
    view.resting("loading");
  },
  changed(info) {
    view.project(info);
    if (session?.current) drawClasses();
  },
  task(task) {
    if (!task) return on.resting("loading");
    task.shownAt = performance.now();
    flagged = noting = finding = false;
    view.task(task);
    if (editor) editor.mount(task);
    else drawClasses();
    if (gold.mayReview(session.info)) review.come(session.info, task, disputes);
  },
  beat: () => review.refresh(),
  swapped(why) {
    beDeaf();
    view.notice(why);
  },
  resting(reason) {
    review.leave();
    view.resting(reason);
  },
  answered(item, undoS) {
    if (!editor) view.press(item.value);
    view.toast(item.value === null ? "Skipped" : inWords(item.value), undoS);
  },
  undone(item) {
    view.notice(item.value === null ? "The skip is taken back." : `“${inWords(item.value)}” is taken back.`);
  },
  undoable: view.undoable,
  counted: view.counted,
  online: view.online,
  notice: view.notice,
  signedOut() {
    session?.stop();
    if (session?.outbox.length) left = { name: session.info.you.name, outbox: session.outbox, spent: session.spent };
    session = null;
    forgetToken();
    view.signIn("This token is not valid, or no longer. Ask for a new one.");
  },
};

const send = (value) => !isDeaf() && session?.answer(value, { flagged, comment: $("note").value.trim() });

// What a reviewer does about what is in dispute.
const disputes = {
  send,
  say: view.say,
  notice: view.notice,
  lost: (task, why) => session?.lose(task, why),
  signedOut: () => on.signedOut(),
  load(value) {
    if (!editor?.load || isDeaf()) return Boolean(editor?.load);
    editor.load(value);
    return true;
  },
};

async function start() {
  if (!adoptToken()) return view.signIn();
  view.resting("loading");
  session = new Session(project, on, left);
  left = null;
  for (let waitS = 1; session && !session.info; waitS = Math.min(waitS * 2, 15)) {
    try {
      await session.start();
    } catch (problem) {
      if (problem.status === 401) return on.signedOut();
      if (!problem.passing) return view.resting(problem.message);
      view.online(false, 0, problem.status === 429);
      await new Promise((done) => setTimeout(done, waitS * 1000));
    }
  }
}

function drawClasses() {
  if (!session?.info || editor) return;
  shown = view.classes(session.info, $("search").value, choose, finding);
  review.mark();
}

async function choose(item) {
  if (!session?.current || isDeaf()) return;
  let value = item.name;
  if (item.isNew) {
    try {
      value = await session.addClass(item.name);
    } catch (problem) {
      return view.notice(problem.message);
    }
  }
  send(value);
}

const does = {
  accept: () => !editor && session.info.classes.length === 2 && choose({ name: session.info.classes[0] }),
  reject: () => !editor && session.info.classes.length === 2 && choose({ name: session.info.classes[1] }),
  skip: () => send(null),
  undo: () => session.undo(),
  flag: () => view.flag((flagged = !flagged)),
  note: () => view.note((noting = !noting)),
  search: () => { if (editor) return; finding = true; view.search(true); },
  gold: () => !$("open-gold").hidden && gold.open(project),
  help: () => view.help((action) => { rebinding = action; }, keysOf(session?.info, gold.mayReview(session?.info)), Boolean(editor)),
};

function onKey(event) {
  session?.active();
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (rebinding) return finishRebinding(event);
  if (gold.isOpen()) return gold.onKey(event);
  if ($("help").open || !session?.info) return;
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "range";
  if (typing) return onTyping(event);
  const arrow = event.key.startsWith("Arrow");
  if (event.repeat && !arrow) return;
  if (isDeaf()) return beDeaf(); // somebody in the middle of a word goes on typing it
  // Space and Enter on a focused button press it, as everywhere; on the page they do what they are bound to.
  if (event.target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
  if (session.current && (review.key(event) || editor?.key(event))) return event.preventDefault();
  const item = shown.find(({ key }) => key && key === event.key);
  const action = Object.entries(bindings()).find(([, key]) => key.toLowerCase() === event.key.toLowerCase())?.[0];
  if (!item && !action) return;
  if (!session.current && !["gold", "help", "undo"].includes(action)) return;
  event.preventDefault();
  if (item) choose(item);
  else does[action]();
}

function onTyping(event) {
  if (event.key === "Escape") {
    finding = noting = false;
    $("search").value = "";
    view.note(false);
    $("main").focus();
    drawClasses();
  } else if (event.key === "Enter" && event.target.id === "search" && shown.length) {
    event.preventDefault();
    choose(shown[0]);
  } else if (event.key === "Enter" && event.target.id === "note") {
    event.preventDefault();
    $("main").focus();
  }
}

function finishRebinding(event) {
  event.preventDefault();
  if (event.key === "Shift") return;
  if (event.key !== "Escape" && !rebind(rebinding, event.key)) view.say("Digits choose classes.");
  rebinding = null;
  view.keyHints();
  does.help();
}

document.addEventListener("keydown", onKey);
document.addEventListener("pointermove", () => session?.active(), { passive: true });
document.addEventListener("pointerdown", () => session?.active(), { passive: true });
document.addEventListener("visibilitychange", () => { if (!document.hidden) session?.active(); });
$("search").addEventListener("input", drawClasses);
$("skip").addEventListener("click", () => { does.skip(); $("main").focus(); });
$("flag").addEventListener("click", () => { does.flag(); $("main").focus(); });
$("add-note").addEventListener("click", () => does.note());
$("undo").addEventListener("click", () => { does.undo(); $("main").focus(); });
$("toast-undo").addEventListener("click", () => { does.undo(); $("main").focus(); });
$("open-gold").addEventListener("click", () => does.gold());
$("gold").addEventListener("close", () => $("main").focus());
$("open-help").addEventListener("click", () => does.help());
$("help").addEventListener("close", () => { rebinding = null; $("main").focus(); });
$("reset-keys").addEventListener("click", () => { resetKeys(); view.keyHints(); does.help(); });
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  start();
});
addEventListener("online", () => session?.flush());
addEventListener("pagehide", () => session?.leave());
addEventListener("pageshow", (event) => { if (event.persisted) session?.fill(true); });
addEventListener("beforeunload", (event) => { if (session?.outbox.length) event.preventDefault(); });

view.keyHints();
start();
