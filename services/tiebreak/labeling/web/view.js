// What is on the screen. Every text of a task goes in as text, never as markup.

import { element } from "./elements.js";
import { ACTIONS, bindings, classKeys, nameOf } from "./keys.js";
import { markdown } from "./markdown.js";

const $ = (id) => document.getElementById(id);
const PANELS = ["sign-in", "resting", "work"];

const RESTING = {
  loading: ["One moment", "Looking for something to decide."],
  no_tasks: ["All decided", "There is nothing to decide right now. New questions appear here by themselves."],
  all_leased: ["In good hands", "Every open question is with somebody else. If one comes back, it appears here."],
  none_for_you: ["You have seen them all", "What is left waits for other people's answers. New questions appear here by themselves."],
};

function show(panel) {
  for (const id of PANELS) $(id).hidden = id !== panel;
}

export function say(text) {
  $("status").textContent = text;
}

export function signIn(problem = "") {
  show("sign-in");
  undoable(false);
  $("token-problem").textContent = problem;
  $("token").value = "";
  $("token").focus();
}

export function resting(reason) {
  // Asked again and again while there is nothing: say it once.
  if (!$("resting").hidden && $("resting").dataset.reason === reason) return;
  $("resting").dataset.reason = reason;
  const [title, text] = RESTING[reason] ?? ["Not now", String(reason ?? "")];
  $("resting-title").textContent = title;
  $("resting-text").textContent = text;
  show("resting");
  say(`${title}. ${text}`);
}

export function project(info) {
  $("project-name").textContent = info.project;
  document.title = `${info.project} · Tiebreak`;
  $("question").textContent = info.question;
  const { kind, examples = {} } = info.answer_schema?.["x-tiebreak"] ?? {};
  const shown = markdown(info.guidelines || "Choose what fits best. Skip what you cannot tell.");
  for (const [name, texts] of Object.entries(examples)) {
    shown.push(element("h3", { text: name }), ...texts.map((text) => element("blockquote", { text })));
  }
  $("guidelines").replaceChildren(...shown);
  $("work").dataset.kind = kind ?? "single";
}

export function counted(answered) {
  $("answered").textContent = String(answered);
}

export function online(isOnline, waiting, tooFast = false) {
  const chip = $("link");
  chip.hidden = isOnline;
  chip.textContent = `${tooFast ? "Too fast" : "Offline"} · ${waiting ? `${waiting} to send` : "trying again"}`;
  if (!isOnline) say(chip.textContent);
}

let noticeTimer = 0;
export function notice(text) {
  const box = $("notice");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { box.hidden = true; }, 6000);
}

let toastTimer = 0;
export function toast(text, seconds) {
  if (seconds <= 0) return;
  $("toast-text").textContent = text;
  $("toast").hidden = false;
  $("undo").disabled = false;
  $("toast-time").animate([{ transform: "scaleX(1)" }, { transform: "scaleX(0)" }], { duration: seconds * 1000, fill: "forwards" });
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => undoable(false), seconds * 1000);
}

export function undoable(is) {
  $("undo").disabled = !is;
  if (!is) $("toast").hidden = true;
}

/** Small pictures (an 8 by 8 digit) grow by a whole factor with hard edges; large ones shrink to fit. */
function crisp(image) {
  const size = Math.max(image.naturalWidth, image.naturalHeight);
  if (!size || size > 128) return;
  const factor = Math.max(1, Math.floor(288 / size));
  image.className = "pixels";
  image.width = image.naturalWidth * factor;
  image.height = image.naturalHeight * factor;
}

const PAYLOADS = {
  text: (p) => element("div", { className: p.text.length < 120 ? "text brief" : "text", text: p.text }),
  image: (p) => {
    const image = element("img", { alt: "The picture to decide on", decoding: "sync" });
    image.addEventListener("load", () => crisp(image));
    image.src = `data:${p.media_type};base64,${p.image}`;
    return image;
  },
  table: (p) => {
    const body = element("tbody");
    for (const [name, value] of p.columns) {
      const row = body.appendChild(element("tr"));
      row.appendChild(element("th", { scope: "row", text: name }));
      row.appendChild(element("td", { text: value === null ? "–" : String(value) }));
    }
    const table = element("table");
    table.appendChild(body);
    return table;
  },
  none: () => element("p", { className: "faint", text: "There is nothing to show for this one. Skip it if you cannot tell." }),
};

export const payload = (shown) => (PAYLOADS[shown.kind] ?? PAYLOADS.none)(shown);

export function task(task) {
  $("payload").replaceChildren(payload(task.payload));
  $("payload").scrollTop = 0;
  $("search").value = "";
  note(false);
  flag(false);
  show("work");
  const spoken = task.payload.kind === "text" ? task.payload.text.slice(0, 200) : "A new one to decide";
  say(spoken);
  if (document.activeElement === document.body || document.activeElement === $("search")) $("main").focus({ preventScroll: true });
}

export function flag(is) {
  $("flag").setAttribute("aria-pressed", String(is));
}

export function note(is) {
  $("note-row").hidden = !is;
  $("add-note").setAttribute("aria-pressed", String(is));
  if (is) $("note").focus();
  else $("note").value = "";
}

/** The classes that match the search, as buttons. Answers what is shown: `[{name, key, isNew}]`, first the best. */
export function classes(info, query, choose, opened) {
  const keys = classKeys(info.classes);
  const keyless = keys.some((key) => !key);
  $("finder").hidden = !(keyless || opened);
  const wanted = query.trim().toLocaleLowerCase();
  let shown = info.classes.map((name, i) => ({ name, key: keys[i], isNew: false }));
  if (wanted) {
    shown = shown.filter(({ name }) => name.toLocaleLowerCase().includes(wanted));
    shown.sort((a, b) => Number(b.name.toLocaleLowerCase().startsWith(wanted)) - Number(a.name.toLocaleLowerCase().startsWith(wanted)));
    // While one types, digits are text: Enter takes the first.
    shown = shown.map((item) => ({ ...item, key: "" }));
  }
  const exact = shown.some(({ name }) => name.toLocaleLowerCase() === wanted);
  if (info.classes_open && wanted && !exact) shown.push({ name: query.trim(), key: "", isNew: true });
  const box = $("classes");
  box.replaceChildren(...shown.map((item, i) => {
    const hint = item.key || (wanted && i === 0 ? "enter" : "");
    const button = element("button", { type: "button", className: item.isNew ? "choice new" : "choice" });
    if (hint) button.appendChild(element("kbd", { text: hint }));
    button.appendChild(element("span", { text: item.isNew ? `Add “${item.name}” and choose it` : item.name }));
    button.addEventListener("click", () => choose(item));
    return button;
  }));
  if (info.classes_open && !wanted) {
    const add = element("button", { type: "button", className: "choice new" });
    add.appendChild(element("kbd", { text: nameOf(bindings().search) }));
    add.appendChild(element("span", { text: "New class" }));
    add.addEventListener("click", () => search(true));
    box.appendChild(add);
  }
  box.classList.toggle("short", !info.classes_open && shown.length > 5 && shown.every(({ name, key }) => name === key));
  $("no-class").hidden = shown.length > 0;
  $("no-class").textContent = "No class is called that.";
  return shown;
}

export function search(is) {
  $("finder").hidden = !is;
  if (is) $("search").focus();
}

/** A short flash on the chosen class, so that a key press is seen as well as felt. */
export function press(name) {
  for (const button of $("classes").children) {
    if (button.lastChild.textContent === name) {
      button.classList.add("pressed");
      setTimeout(() => button.classList.remove("pressed"), 140);
    }
  }
}

export function keyHints() {
  const keys = bindings();
  for (const hint of document.querySelectorAll("kbd[data-key]")) hint.textContent = nameOf(keys[hint.dataset.key]);
}

/** `fixed`: the keys of this kind of answers; `edited`: it has an editor of its own, and the keys for classes are not heard. */
export function help(rebindWith, fixed, edited) {
  const keys = bindings();
  const own = fixed.map(([key, says]) => {
    const line = element("li");
    line.append(element("span", { text: says }), element("kbd", { text: key }));
    return line;
  });
  const heard = ([, { reviewers, classes }]) => !(reviewers && $("open-gold").hidden) && !(classes && edited);
  $("key-list").replaceChildren(...own, ...Object.entries(ACTIONS).filter(heard).map(([action, { says }]) => {
    const line = element("li");
    const button = element("button", { type: "button", ariaLabel: `Change the key for: ${says}` });
    button.appendChild(element("kbd", { text: nameOf(keys[action]) }));
    button.addEventListener("click", () => {
      button.classList.add("waiting");
      button.firstChild.textContent = "press a key";
      rebindWith(action);
    });
    line.append(element("span", { text: says }), button);
    return line;
  }));
  if (!$("help").open) $("help").showModal();
}
