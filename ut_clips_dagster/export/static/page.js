// Search, posters, player and transcript over CLIPS (data.js). One classic script: a page on disk may load neither
// modules nor data. Everything that people wrote becomes a text node, never markup.
(() => {
"use strict";

const AT_ONCE = 60;
const byId = (id) => document.getElementById(id);
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const still = matchMedia("(prefers-reduced-motion: reduce)");
const folded = (text) => (text || "").normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const nameOf = (clip) => clip.name || "Clip without a name";
const hashOf = (clip) => `#clip/${clip.session_id}/${clip.clip_uuid}`;
const dayOf = (clip) => (clip.at_ms === null ? "" : day.format(new Date(clip.at_ms)));

let found = CLIPS;
let shown = 0;
let playing = null;
let lines = [];
let current = null;

for (const clip of CLIPS) {
  clip.words = folded([clip.name, clip.description, ...clip.cues.map((cue) => cue.text)].join("\n"));
}

function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === false) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 0.0005));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const asked = () => folded(byId("q").value).split(/\s+/).filter(Boolean);

function find() {
  const words = asked();
  found = words.length ? CLIPS.filter((clip) => words.every((word) => clip.words.includes(word))) : CLIPS;
  const clips = `${found.length.toLocaleString("en")} ${found.length === 1 ? "clip" : "clips"}`;
  byId("count").textContent = words.length ? clips : `${clips}, newest first`;
  byId("empty").hidden = found.length > 0;
  byId("grid").replaceChildren();
  shown = 0;
  more();
}

function more() {
  const words = asked();
  byId("grid").append(...found.slice(shown, shown + AT_ONCE).map((clip) => card(clip, words)));
  shown = Math.min(shown + AT_ONCE, found.length);
  byId("more").hidden = shown === found.length;
}

function card(clip, words) {
  const box = el("div", { class: "thumb" });
  if (clip.poster) {
    const image = el("img", { src: clip.poster, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(icon("play")));
    box.append(image);
  } else box.append(icon("play"));
  const over = el("div", { class: "over" });
  if (!clip.sound) over.append(el("span", { title: "Without sound" }, icon("mute"), el("em", { class: "unseen" }, "without sound")));
  if (clip.duration_s !== null) over.append(el("span", {}, clock(clip.duration_s)));
  box.append(over);
  const moment = words.length ? clip.cues.find((cue) => words.some((word) => folded(cue.text).includes(word))) : null;
  const said = moment
    ? el("p", { class: "words moment", dir: "auto" }, el("time", {}, clock(moment.start_ms / 1000)), " ", moment.text)
    : el("p", { class: "words", dir: "auto" }, clip.description || "");
  const link = el("a", { href: hashOf(clip) + (moment ? `/${moment.start_ms}` : ""), "data-clip": clip.clip_uuid }, box);
  link.append(el("p", { class: "name", dir: "auto" }, nameOf(clip)), said, el("p", { class: "when" }, dayOf(clip)));
  return el("li", { class: "card" }, link);
}

function open(clip, startMs) {
  stop();
  playing = clip;
  byId("player-title").textContent = nameOf(clip);
  byId("player-facts").textContent = [dayOf(clip), clip.study_uuid ? `study ${clip.study_uuid.slice(0, 8)}` : ""].filter(Boolean).join(" · ");
  byId("about").replaceChildren(el("p", { dir: "auto" }, clip.description || ""));
  byId("stage").replaceChildren(screen(clip, startMs));
  write(clip);
  const at = found.indexOf(clip);
  byId("previous").disabled = at < 1;
  byId("next").disabled = at < 0 || at === found.length - 1;
  document.title = `${nameOf(clip)} · Clips`;
  if (!byId("player").open) byId("player").showModal();
}

function screen(clip, startMs) {
  const video = el("video", { controls: true, preload: "metadata", playsinline: true, src: clip.path, poster: clip.poster, "aria-label": nameOf(clip) });
  if (clip.cues.length) {
    const track = video.addTextTrack("captions", "Transcript", "en");
    track.mode = "disabled";
    const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    for (const cue of clip.cues) track.addCue(new VTTCue(cue.start_ms / 1000, Math.max(cue.end_ms, cue.start_ms + 1) / 1000, plain(cue.text)));
  }
  video.addEventListener("loadedmetadata", () => startMs && (video.currentTime = startMs / 1000), { once: true });
  for (const event of ["timeupdate", "seeked"]) video.addEventListener(event, () => mark(video));
  video.addEventListener("error", () => playing === clip && byId("stage").replaceChildren(broken()));
  if (!still.matches) video.play().catch(() => {}); // a browser may want a click first
  return video;
}

function broken() {
  const told = el("p", {}, "The browser cannot play it: the file may be missing, or of a format that it does not know.");
  return el("div", { class: "absent" }, icon("warn"), el("strong", {}, "This clip does not play"), told);
}

function write(clip) {
  lines = clip.cues.map((cue) => {
    const said = el("span", { dir: "auto" }, cue.voice ? el("b", {}, cue.voice) : null, cue.text || "");
    const button = el("button", { type: "button" }, el("time", {}, clock(cue.start_ms / 1000)), said);
    button.addEventListener("click", () => {
      const video = byId("stage").querySelector("video");
      if (!video) return;
      video.currentTime = cue.start_ms / 1000;
      video.play().catch(() => {});
    });
    return { cue, button };
  });
  byId("lines").replaceChildren(...lines.map(({ button }) => el("li", {}, button)));
  byId("lines").hidden = !lines.length;
  byId("nothing").hidden = lines.length > 0;
}

// Mark the line that is being said.
function mark(video) {
  const now = video.currentTime * 1000 + 1;
  let said = null;
  for (const line of lines) if (line.cue.start_ms <= now && now <= line.cue.end_ms + 1500) said = line;
  if (said === current) return;
  current?.button.removeAttribute("aria-current");
  said?.button.setAttribute("aria-current", "true");
  current = said;
  said?.button.scrollIntoView({ block: "nearest" });
}

function stop() {
  const video = byId("stage").querySelector("video");
  if (video) {
    video.pause();
    video.removeAttribute("src");
    video.load();
  }
  playing = current = null;
  lines = [];
}

function step(by) {
  const clip = found[found.indexOf(playing) + by];
  if (!clip) return;
  while (shown <= found.indexOf(clip)) more();
  history.replaceState(null, "", hashOf(clip));
  open(clip, 0);
  byId("said").textContent = nameOf(clip);
}

function closed() {
  if (byId("player").open) return; // another clip was opened meanwhile
  const last = playing?.clip_uuid;
  const isOurs = playing && location.hash.startsWith(hashOf(playing)); // not that of a clip that is about to open
  stop();
  byId("stage").replaceChildren();
  document.title = "Clips";
  if (isOurs) history.replaceState(null, "", location.pathname + location.search);
  const link = [...document.querySelectorAll("a[data-clip]")].find((each) => each.dataset.clip === last);
  (link || byId("main")).focus();
}

function follow() {
  const [kind, session, uuid, startMs] = location.hash.slice(1).split("/");
  const clip = kind === "clip" && CLIPS.find((each) => each.session_id === session && each.clip_uuid === uuid);
  if (clip) open(clip, Number(startMs) || 0);
  else if (byId("player").open) byId("player").close();
}

byId("q").addEventListener("input", find);
byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", more);
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => byId("player").close());
byId("player").addEventListener("close", closed);
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "INPUT") return;
  if (event.key === "/" && !playing) {
    event.preventDefault();
    byId("q").focus();
  }
  if (playing && event.key.toLowerCase() === "n") step(1);
  if (playing && event.key.toLowerCase() === "p") step(-1);
});
find();
follow();
})();
