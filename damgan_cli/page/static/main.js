// The page: what is pressed goes to the server, whose answer is the state that is shown.

import * as api from "./api.js";
import { Sheet } from "./sheet.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

const WORKING = 400; // ms between looks at a job
const IDLE = 4000; // ms between looks at what other tabs have done
const NAMES = { fill: "Filling", object: "Looking for the object", text: "Looking for text", scratches: "Looking for scratches", fakeness: "Marking" };

const element = (id) => document.getElementById(id);
const number = (id) => Number(element(id).value);

let current = null; // number of the photo that is open
let state = null; // the server's last word on it
let list = null;
let tool = "brush";
let object = null; // points and box of the object that is being marked
let waiting = Promise.resolve(); // strokes reach the server in their order

const view = new View(element("stage"), showZoom, tell);
const tools = new Tools(view, { settings, paint, find });
const sheet = new Sheet(open, tell);

// ---------------------------------------------------------------------------------------- settings
function settings() {
  // the brush grows with the photo: from 1 px to a fifth of its longer side
  const largest = Math.min(4000, Math.max(...view.size) / 5);
  const size = Math.round(Math.max(1, Math.pow(largest, number("size") / 100)) * 10) / 10;
  return { tool, size, hardness: number("hardness") / 100, erase: element("cut").checked };
}

function showSettings() {
  element("size-shown").value = `${Math.round(settings().size)} px`;
  element("hardness-shown").value = `${number("hardness")} %`;
  element("strength-shown").value = `${number("strength")} %`;
  element("share-shown").value = `${number("share")} %`;
  view.draw();
}

function choose(name) {
  tool = name;
  object = null;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  }
  for (const section of document.querySelectorAll("[data-for]")) {
    section.hidden = !section.dataset.for.split(" ").includes(name);
  }
  element("stage").dataset.tool = name;
  tools.stop();
}

function showZoom() {
  element("fit").textContent = `${Math.round(view.scale * devicePixelRatio * 100)} %`;
  showDivider();
}

// ---------------------------------------------------------------------------------------- the photo
async function open(which) {
  try {
    const opened = await api.state(which);
    current = which;
    object = null;
    location.hash = which;
    element("sheet").hidden = true;
    element("editor").hidden = element("editing").hidden = false;
    element("photos").hidden = sheet.count < 2 && !sheet.uploads;
    element("compare").checked = element("doubt").checked = false;
    view.split = null;
    view.doubt = false;
    view.open(which, opened);
    element("size").value = 55;
    show(opened);
    showSettings();
  } catch (problem) {
    tell(problem);
    if (current === null) await showSheet();
  }
}

async function showSheet() {
  current = state = null;
  history.replaceState(null, "", "#");
  element("editor").hidden = element("editing").hidden = element("photos").hidden = true;
  element("sheet").hidden = false;
  element("name").textContent = "damgan paint";
  document.title = "damgan paint";
  await sheet.load().catch(tell);
}

function show(next) {
  const told = state?.problem?.message;
  if (state && state.name === next.name && next.revision < state.revision) return; // overtaken
  state = next;
  view.update(state);
  element("name").textContent = document.title = (state.unsaved ? "• " : "") + state.name;
  const { job, picture } = state;
  element("undo").disabled = !state.undo || Boolean(job);
  element("redo").disabled = !state.redo || Boolean(job);
  element("clear").disabled = !state.painted || Boolean(job);
  element("fill").disabled = Boolean(job) || !(state.painted || picture.length);
  element("fill").textContent = !state.painted && picture.length ? "Fill again" : "Fill";
  element("save").disabled = Boolean(job) || !picture.length;
  element("save-mask").disabled = Boolean(job) || !(state.painted || picture.length);
  for (const button of document.querySelectorAll("[data-find]")) button.disabled = Boolean(job);
  element("results").hidden = !picture.length;
  element("working").hidden = !job;
  element("stage").setAttribute("aria-busy", String(Boolean(job)));
  if (job?.share) element("progress").value = job.share;
  else element("progress").removeAttribute("value");
  if (job) say(`${NAMES[job.kind]}${job.share ? ` ${Math.round(100 * job.share)} %` : job.share === null ? ": waiting" : ""} …`);
  else if (element("status").textContent.endsWith("…")) say("");
  if (state.problem && state.problem.message !== told) tell(new Error([state.problem.message, state.problem.hint].filter(Boolean).join(" ")));
  showDivider();
  clearTimeout(show.again);
  show.again = setTimeout(look, job ? WORKING : IDLE);
}

async function look() {
  const which = current;
  if (which === null) return;
  if (document.hidden && !state.job) {
    show.again = setTimeout(look, IDLE);
    return;
  }
  try {
    const next = await api.state(which);
    if (which === current) show(next);
  } catch (problem) {
    say(problem.message);
    show.again = setTimeout(look, IDLE);
  }
}

// Send something for the open photo, after what was sent before; gives the new state, or null.
function send(action, content) {
  const which = current;
  const sent = waiting.then(async () => {
    try {
      const next = await api.post(which, action, { ...content, revision: state?.revision ?? 0 });
      if (which === current) show(next);
      return next;
    } catch (problem) {
      if (problem.exists) throw problem;
      if (which === current) {
        tell(problem);
        await look();
      }
      return null;
    }
  });
  waiting = sent.catch(() => null);
  return sent;
}

// ---------------------------------------------------------------------------------------- actions
async function paint(document) {
  object = null;
  const stroke = { ...document };
  view.strokes.push(stroke);
  element("shown").checked = true;
  showMask();
  const next = await send("paint", document);
  if (next) stroke.revision = next.revision;
  else view.strokes = view.strokes.filter((one) => one !== stroke);
  view.draw();
}

function find(box, point) {
  if (state.job) return;
  if (tool !== "object") {
    search(tool, box);
    return;
  }
  const mode = document.querySelector("[name=mode]:checked").value;
  const replace = Boolean(object) && mode !== "new";
  if (!replace) object = { box: null, points: [], not_points: [] };
  if (box) object.box = box;
  else object[mode === "less" ? "not_points" : "points"].push(point);
  send("find", { kind: "object", ...object, replace });
}

function search(kind, box = null) {
  send("find", { kind, box, strength: number("strength") / 100, share: number("share") / 100, replace: kind === "fakeness" });
}

function fill() {
  send("fill", { weights: element("weights").value, fit: element("fits").value });
}

async function save(what) {
  const which = current;
  try {
    let next;
    try {
      next = await send("save", { what });
    } catch (problem) {
      element("replace-text").textContent = problem.message;
      element("replace").showModal();
      const closed = await new Promise((done) => element("replace").addEventListener("close", done, { once: true }));
      if (closed.target.returnValue !== "yes") return;
      next = await send("save", { what, overwrite: true });
    }
    if (!next) return;
    say(`Saved: ${next.saved}`);
    if (list.uploads) {
      const link = document.createElement("a");
      link.href = api.saved(which, what);
      link.download = next.saved;
      link.click();
    }
  } catch (problem) {
    tell(problem);
  }
}

// ---------------------------------------------------------------------------------------- looks
function showMask() {
  element("mask").hidden = !element("shown").checked;
}

function showDivider() {
  const divider = element("divider");
  divider.hidden = view.split === null || !state?.picture.length;
  divider.style.left = `${100 * (view.split ?? 0)}%`;
  divider.setAttribute("aria-valuenow", String(Math.round(100 * (view.split ?? 0))));
}

function split(share) {
  view.split = share === null ? null : Math.min(Math.max(share, 0), 1);
  element("compare").checked = share !== null;
  showDivider();
  view.refresh();
  view.draw();
}

function say(text) {
  element("status").textContent = text;
}

function tell(problem) {
  element("alert").hidden = false;
  element("alert").firstElementChild.textContent = problem.message;
}

// ---------------------------------------------------------------------------------------- wiring
const press = (id, act) => element(id).addEventListener("click", act);
press("undo", () => send("step", { by: -1 }));
press("redo", () => send("step", { by: 1 }));
press("clear", () => paint({ kind: "clear" }));
press("fill", fill);
press("stop", () => send("stop", {}));
press("save", () => save("photo"));
press("save-mask", () => save("mask"));
press("in", () => view.zoom(1.5));
press("out", () => view.zoom(1 / 1.5));
press("fit", () => view.showAll());
press("photos", showSheet);
press("help", () => element("keys").showModal());
element("alert").lastElementChild.addEventListener("click", () => (element("alert").hidden = true));
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => choose(button.dataset.tool));
for (const button of document.querySelectorAll("[data-find]")) button.addEventListener("click", () => search(button.dataset.find));
for (const id of ["size", "hardness", "strength", "share"]) element(id).addEventListener("input", showSettings);
element("shown").addEventListener("change", showMask);
element("compare").addEventListener("change", (event) => split(event.target.checked ? 0.5 : null));
element("doubt").addEventListener("change", (event) => {
  view.doubt = event.target.checked;
  element("doubting").hidden = !view.doubt;
  view.refresh();
  view.draw();
});

const divider = element("divider");
divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
divider.addEventListener("pointermove", (event) => {
  if (!divider.hasPointerCapture(event.pointerId)) return;
  const bounds = element("stage").getBoundingClientRect();
  split((event.clientX - bounds.left) / bounds.width);
});
divider.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  split(view.split + by);
});

const bump = (id, by) => () => {
  element(id).value = number(id) + by;
  showSettings();
};
const toggle = (id) => () => !element("results").hidden || id === "shown" ? element(id).click() : null;
const keys = {
  b: () => choose("brush"), e: () => choose("eraser"), r: () => choose("box"), l: () => choose("lasso"),
  o: () => choose("object"), t: () => choose("text"), s: () => choose("scratches"), h: () => choose("hand"),
  "[": bump("size", -4), "]": bump("size", 4), "{": bump("hardness", -10), "}": bump("hardness", 10),
  f: () => element("fill").click(), c: toggle("compare"), m: toggle("shown"), d: toggle("doubt"),
  0: () => view.showAll(), 1: () => view.zoom(1 / devicePixelRatio / view.scale), "+": () => view.zoom(1.5),
  "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), "?": () => element("keys").showModal(),
  ",": () => current > 0 && open(current - 1), ".": () => current < sheet.count - 1 && open(current + 1),
  Escape: () => tools.stop(), ArrowLeft: () => view.move(60, 0), ArrowRight: () => view.move(-60, 0),
  ArrowUp: () => view.move(0, 60), ArrowDown: () => view.move(0, -60),
};

document.addEventListener("keydown", (event) => {
  if (current === null || document.querySelector("dialog[open]")) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    const act = { z: () => element(event.shiftKey ? "redo" : "undo").click(), y: () => element("redo").click(), s: () => element("save").click() }[letter];
    if (!act) return;
    event.preventDefault();
    act();
    return;
  }
  if (event.altKey || event.target.matches("select, [type=range], [type=radio]")) {
    if (event.key.startsWith("Arrow") || event.target.matches("select") || event.altKey) return;
  }
  if (event.key === " " && !event.target.matches("button, input")) {
    event.preventDefault();
    tools.space = true;
    view.draw();
    return;
  }
  if (letter in keys) {
    event.preventDefault();
    keys[letter]();
  }
});
document.addEventListener("keyup", (event) => {
  if (event.key === " ") tools.space = false;
});
document.addEventListener("visibilitychange", () => !document.hidden && look());

function options(id, names) {
  element(id).replaceChildren(...names.map((name) => new Option(name, name)));
}

async function start() {
  choose("brush");
  list = await sheet.load();
  options("weights", list.weights);
  options("fits", list.fits);
  for (const button of document.querySelectorAll("[data-tool]")) {
    const name = button.dataset.tool;
    button.hidden = ["object", "text", "scratches"].includes(name) && !list.finders.includes(name);
  }
  const asked = Number(location.hash.slice(1));
  if (location.hash.length > 1 && asked < list.photos.length) await open(asked);
  else if (list.photos.length === 1 && !list.uploads) await open(0);
  else await showSheet();
}

start().catch(tell);
