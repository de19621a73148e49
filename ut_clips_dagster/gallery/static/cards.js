// A clip as one of many.

import { clipHash } from "./api.js";
import { el, icon, marked } from "./dom.js";
import { clock, dayOf, short, statusOf } from "./format.js";

export function card(clip, words = [], inSession = false) {
  const seconds = clip.moment ? clip.moment.start_ms / 1000 : null;
  const name = el("p", { class: "name", dir: "auto" }, ...marked(clip.name || "Clip without a name", words));
  const link = el("a", { href: clipHash(clip, seconds), "data-clip": clip.clip_uuid }, thumb(clip), name, said(clip, words));
  link.append(el("p", { class: "when" }, inSession ? within(clip) : `${dayOf(clip.at_ms)} · study ${short(clip.study_uuid)}`));
  return el("li", { class: "card" }, link);
}

export function ghosts(number) {
  return Array.from({ length: number }, () => el("li", { class: "card ghost", "aria-hidden": "true" }, el("div", { class: "thumb" }), el("i")));
}

function thumb(clip) {
  const box = el("div", { class: "thumb" });
  const fallback = () => icon(clip.stored ? "play" : clip.status === "GENERATING" ? "wait" : "warn");
  if (clip.poster) {
    const image = el("img", { src: clip.poster, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(fallback()));
    image.addEventListener("load", () => image.classList.toggle("tall", image.naturalHeight > image.naturalWidth));
    box.append(image);
  } else {
    box.append(fallback());
  }
  const state = clip.stored ? (clip.listed ? null : "deleted") : clip.status;
  if (state) box.append(el("span", { class: "badge" }, statusOf(state)));
  const over = el("div", { class: "over" });
  if (!clip.sound) over.append(el("span", { title: "Without sound" }, icon("mute"), el("em", { class: "unseen" }, "without sound")));
  if (clip.duration_s) over.append(el("span", {}, clock(clip.duration_s)));
  box.append(over);
  return box;
}

function said(clip, words) {
  if (clip.moment) {
    const at = el("time", {}, clock(clip.moment.start_ms / 1000));
    return el("p", { class: "words moment", dir: "auto" }, at, " ", ...marked(clip.moment.text, words));
  }
  return clip.description ? el("p", { class: "words", dir: "auto" }, ...marked(clip.description, words)) : null;
}

function within(clip) {
  return clip.time_start_ms === null ? "" : `${clock(clip.time_start_ms / 1000)} into the session`;
}
