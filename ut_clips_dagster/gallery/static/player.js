// One clip, with what is said in it beside.

import { Problem, ask, clipHash } from "./api.js";
import { byId, el, icon, marked } from "./dom.js";
import { clock, momentOf, short, size, statusOf } from "./format.js";

const FOLLOW_AGAIN_MS = 4000;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Player {
  // `list` answers with the clips around: {clips, words, more()}.
  constructor(list) {
    this.list = list;
    this.dialog = byId("player");
    this.clip = null;
    this.video = null;
    this.lines = [];
    this.scrolledAt = 0;
    this.pushed = false;
    byId("close").addEventListener("click", () => this.dialog.close());
    byId("previous").addEventListener("click", () => this.step(-1));
    byId("next").addEventListener("click", () => this.step(1));
    byId("copy").addEventListener("click", () => this.copy());
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    for (const kind of ["wheel", "touchmove"]) {
      byId("player-body").addEventListener(kind, () => (this.scrolledAt = performance.now()), { passive: true });
    }
  }

  get isOpen() {
    return this.dialog.open;
  }

  async open(sessionId, clipUuid, seconds, byPerson) {
    const same = this.clip && this.clip.session_id === sessionId && this.clip.clip_uuid === clipUuid;
    if (same && this.isOpen) return this.seek(seconds ?? 0, false);
    const wanted = (this.wanted = `${sessionId}/${clipUuid}`);
    this.stop();
    if (!this.isOpen) this.dialog.showModal();
    let clip;
    try {
      clip = await ask(`/api/clips/${sessionId}/${clipUuid}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (wanted === this.wanted) this.fail(error);
      return undefined;
    }
    if (wanted !== this.wanted || !this.isOpen) return undefined;
    this.show(clip, seconds, byPerson);
    return this.place();
  }

  fail(error) {
    this.clip = null;
    byId("player-title").textContent = error.status === 404 ? "This clip is not here" : "That did not work";
    byId("player-facts").replaceChildren();
    byId("about").replaceChildren();
    byId("lines").replaceChildren();
    byId("save").hidden = byId("copy").hidden = true;
    byId("transcript").hidden = true;
    byId("stage").replaceChildren(el("div", { class: "absent" }, icon("warn"), el("p", {}, error.message)));
    this.place();
    byId("close").focus();
  }

  show(clip, seconds, byPerson) {
    this.clip = clip;
    const words = this.list().words;
    byId("player-title").replaceChildren(...marked(clip.name || "Clip without a name", words));
    document.title = `${clip.name || "Clip"} · Clips`;
    const session = el("a", { href: `/sessions/${clip.session_id}` }, `Session of ${momentOf(clip.at_ms)}`);
    byId("player-facts").replaceChildren(el("span", {}, session), el("span", {}, `study ${short(clip.study_uuid)}`));
    byId("link-shown").hidden = true;
    byId("copy").hidden = false;
    byId("save").hidden = !clip.stored;
    if (clip.stored) {
      byId("save").href = media(clip);
      byId("save").setAttribute("download", `${(clip.name || "clip").replace(/[^\p{L}\p{N} .-]+/gu, " ").trim().slice(0, 80) || "clip"}.mp4`);
    }
    byId("stage").replaceChildren(clip.stored ? this.screen(clip, seconds, byPerson) : absent(clip));
    this.describe(clip, words);
    this.write(clip, words);
    if (byPerson !== "step") (this.video || byId("close")).focus({ preventScroll: true });
  }

  screen(clip, seconds, byPerson) {
    const video = el("video", { controls: true, preload: "metadata", playsinline: true, poster: clip.poster, "aria-label": clip.name || "Clip" });
    if (clip.cues.length) {
      const src = `/captions/${clip.session_id}/${clip.clip_uuid}.vtt`;
      video.append(el("track", { kind: "captions", label: "Transcript", src }));
    }
    video.addEventListener("loadedmetadata", () => (seconds ? (video.currentTime = seconds) : seconds === 0 && this.mark()), { once: true });
    video.addEventListener("timeupdate", () => this.mark());
    video.addEventListener("seeked", () => this.mark());
    video.addEventListener("error", () => this.video === video && byId("stage").replaceChildren(broken()));
    video.src = media(clip);
    this.video = video;
    if (byPerson && !still.matches) video.play().catch(() => {}); // a browser may want a click first
    return video;
  }

  describe(clip, words) {
    const parts = [];
    if (clip.description) parts.push(el("p", { dir: "auto" }, ...marked(clip.description, words)));
    if (clip.stored && !clip.listed) parts.push(el("p", {}, el("span", { class: "badge" }, "Deleted at UserTesting"), " The archive keeps its copy."));
    if (clip.problem) parts.push(el("p", { class: "quiet" }, `The file: ${clip.problem}`));
    const facts = [];
    if (clip.time_start_ms !== null) facts.push(`${clock(clip.time_start_ms / 1000)} into the session`);
    if (clip.width) facts.push(`${clip.width} × ${clip.height}`);
    if (clip.size_bytes) facts.push(size(clip.size_bytes));
    facts.push(clip.sound ? "with sound" : "without sound");
    parts.push(el("p", { class: "quiet" }, facts.join(" · ")), el("p", { class: "quiet" }, "Clip ", el("code", {}, clip.clip_uuid)));
    byId("about").replaceChildren(...parts);
  }

  write(clip, words) {
    this.lines = clip.cues.map((cue) => {
      const voice = cue.voice ? el("b", {}, cue.voice) : null;
      const said = el("span", { dir: "auto" }, voice, ...marked(cue.text, words));
      const button = el("button", { type: "button" }, el("time", {}, clock(cue.start_ms / 1000)), said);
      button.addEventListener("click", () => this.seek(cue.start_ms / 1000, true));
      return { cue, button };
    });
    byId("transcript").hidden = false;
    byId("lines").replaceChildren(...this.lines.map(({ button }) => el("li", {}, button)));
    byId("lines").scrollTop = 0;
    byId("lines").hidden = !clip.cues.length;
    byId("transcript").querySelector(".nothing")?.remove();
    if (!clip.cues.length) byId("transcript").append(el("p", { class: "nothing" }, "There is no transcript of this clip."));
  }

  seek(seconds, play) {
    if (!this.video) return;
    this.scrolledAt = 0;
    this.video.currentTime = seconds;
    if (play) this.video.play().catch(() => {});
  }

  // Mark the line that is being said, and keep it in sight unless somebody reads elsewhere.
  mark() {
    const now = this.video ? this.video.currentTime * 1000 + 1 : -1;
    let current = null;
    for (const line of this.lines) if (line.cue.start_ms <= now) current = line;
    if (current && now > current.cue.end_ms + 1500) current = null;
    if (current === this.current) return;
    this.current?.button.removeAttribute("aria-current");
    current?.button.setAttribute("aria-current", "true");
    this.current = current;
    if (current && performance.now() - this.scrolledAt > FOLLOW_AGAIN_MS) follow(byId("lines"), current.button);
  }

  async step(by) {
    const { clips, more } = this.list();
    let at = clips.findIndex((clip) => clip.clip_uuid === this.clip?.clip_uuid);
    if (by > 0 && at >= 0 && at === clips.length - 1 && more) await more();
    const target = at < 0 ? clips[0] : this.list().clips[at + by];
    if (!target) return;
    history.replaceState(history.state, "", clipHash(target));
    await this.open(target.session_id, target.clip_uuid, null, "step");
    byId("said").textContent = `${target.name || "Clip without a name"}, ${byId("position").textContent}`;
  }

  place() {
    const { clips, more } = this.list();
    const at = clips.findIndex((clip) => clip.clip_uuid === this.clip?.clip_uuid);
    byId("position").textContent = at < 0 ? "" : `${at + 1} of ${more ? `${clips.length}+` : clips.length}`;
    enable(byId("previous"), at > 0);
    enable(byId("next"), at >= 0 ? at < clips.length - 1 || Boolean(more) : clips.length > 0);
  }

  async copy() {
    if (!this.clip) return;
    const seconds = this.video && this.video.currentTime > 0 ? this.video.currentTime : null;
    const link = `${location.origin}/${clipHash(this.clip, seconds)}`;
    try {
      await navigator.clipboard.writeText(link);
      byId("said").textContent = "Link copied";
      flash(byId("copy"), "Copied");
    } catch {
      byId("link").value = link; // a browser gives the clipboard to secure addresses only
      byId("link-shown").hidden = false;
      byId("link").select();
    }
  }

  stop() {
    if (this.video) {
      this.video.pause();
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.video = null;
    this.current = null;
    this.lines = [];
  }

  closed() {
    if (this.isOpen) return; // another clip was opened meanwhile
    const last = this.clip?.clip_uuid;
    const isOurs = location.hash.startsWith(`#/clip/${this.wanted}`); // not that of a clip that is about to open
    this.stop();
    this.wanted = this.clip = null;
    document.title = "Clips";
    byId("stage").replaceChildren();
    if (isOurs) {
      if (this.pushed) history.back();
      else history.replaceState(null, "", location.pathname + location.search);
    }
    this.pushed = false;
    const link = last && [...document.querySelectorAll("a[data-clip]")].find((each) => each.dataset.clip === last);
    (link || byId("main")).focus({ preventScroll: !link });
  }
}

const media = (clip) => `/media/${clip.session_id}/${clip.clip_uuid}`;

function enable(button, on) {
  if (!on && document.activeElement === button) byId("close").focus();
  button.disabled = !on;
}

function absent(clip) {
  const why = clip.error ? el("p", { dir: "auto" }, clip.error) : null;
  return el("div", { class: "absent" }, icon(clip.status === "GENERATING" ? "wait" : "warn"), el("strong", {}, statusOf(clip.status)), why);
}

function broken() {
  const told = el("p", {}, "The browser cannot play it: the file may be damaged, or of a format that it does not know.");
  return el("div", { class: "absent" }, icon("warn"), el("strong", {}, "This clip does not play"), told);
}

function follow(list, line) {
  const behavior = still.matches ? "auto" : "smooth";
  if (list.scrollHeight > list.clientHeight) list.scrollTo({ top: line.offsetTop - list.offsetTop - list.clientHeight / 3, behavior });
}

function flash(button, text) {
  const label = button.lastChild;
  const before = "Copy link";
  label.textContent = text;
  setTimeout(() => (label.textContent = before), 1800);
}
