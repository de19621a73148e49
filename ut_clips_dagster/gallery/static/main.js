// The page: which view it shows, what keys do, and how the archive stands.

import { Problem, ask } from "./api.js";
import { Browse } from "./browse.js";
import { byId, el } from "./dom.js";
import { Player } from "./player.js";
import { Session } from "./session.js";

const LOOK_EVERY_MS = 5000;
const LOOK_WHILE_BUILDING_MS = 700;
const CLIP = /^#\/clip\/([0-9a-f-]{36})\/([0-9a-f-]{36})(?:\?t=(\d+(?:\.\d+)?))?$/;
const SINGLE_KEYS = "single-keys";

const path = location.pathname.match(/^\/sessions\/([^/]+)$/);
const session = path ? new Session(decodeURIComponent(path[1])) : null;
const browse = new Browse();
const player = new Player(() =>
  session ? { clips: session.clips, words: [], more: null } : { clips: browse.clips, words: browse.words, more: browse.after === null ? null : () => browse.more() },
);
let known = null;

function route(byPerson) {
  const clip = location.hash.match(CLIP);
  if (clip) player.open(clip[1], clip[2], clip[3] ? Number(clip[3]) : null, byPerson).catch(report);
  else if (player.isOpen) player.dialog.close();
}

addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/clip/") && !player.isOpen) player.pushed = true;
  route(true);
});
// Only another question is asked anew: closing a clip goes back, too, and must leave its card where the focus is.
addEventListener("popstate", () => !session && !location.hash && location.search !== browse.address && browse.read());

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !byId(SINGLE_KEYS).checked) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const key = event.key.toLowerCase();
  const keys = player.isOpen ? { n: () => player.step(1), p: () => player.step(-1), l: () => player.copy() } : { "/": () => byId("q").select() };
  if (!keys[key]) return;
  event.preventDefault();
  keys[key]();
});

byId(SINGLE_KEYS).checked = remembered() !== "off";
byId("slash").hidden = remembered() === "off";
byId(SINGLE_KEYS).addEventListener("change", (event) => {
  byId("slash").hidden = !event.target.checked;
  try {
    localStorage.setItem(SINGLE_KEYS, event.target.checked ? "on" : "off");
  } catch {
    // it holds for this visit
  }
});
function remembered() {
  try {
    return localStorage.getItem(SINGLE_KEYS);
  } catch {
    return null;
  }
}
if (session) byId("search").addEventListener("submit", () => location.assign(`/?${new URLSearchParams({ q: byId("q").value })}`), { capture: true });

// How the index stands: what is new is offered, never pushed under somebody's eyes.
async function look() {
  let state = null;
  try {
    state = await ask("/api/state");
    tell(state);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    notice("bad", el("span", {}, error.message));
    known = null;
  }
  setTimeout(() => look().catch(report), state?.building ? LOOK_WHILE_BUILDING_MS : LOOK_EVERY_MS);
}

function tell(state) {
  if (state.building) {
    const done = el("progress", { max: Math.max(state.rows, 1), value: state.done, "aria-label": "Rows read" });
    notice("", el("span", {}, "The search index is being built."), done);
    return;
  }
  const before = known;
  known = state.archive.revision;
  if (before === null) {
    browse.know(state.archive);
    if (!session && !browse.found) browse.find().catch(report);
    notice();
  }
  if (state.problem) notice("bad", el("span", {}, `What is shown may be out of date. ${state.problem}`));
  else if (before !== null && before !== known) offer(state.archive);
  else if (!byId("notice").querySelector("button")) notice();
}

function offer(archive) {
  const button = el("button", { type: "button", class: "soft" }, "Show");
  button.addEventListener("click", () => {
    notice();
    browse.know(archive);
    (session ? session.show() : browse.find()).catch(report);
    byId("main").focus();
  });
  if (!session && !browse.clips.length) button.click();
  else notice("", el("span", { role: "status" }, "The archive has changed."), button);
}

function notice(kind = null, ...children) {
  byId("notice").replaceChildren(...(kind === null ? [] : [el("div", { class: `note ${kind}` }, ...children)]));
}

function report(error) {
  notice("bad", el("span", {}, "Something went wrong on this page. Load it again."));
  throw error;
}

(session ? session.show() : browse.read()).then(() => route(false)).catch(report);
look().catch(report);
