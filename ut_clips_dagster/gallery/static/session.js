// A session with its clips: the page that Dagster links to.

import { Problem, ask, clipHash } from "./api.js";
import { card } from "./cards.js";
import { byId, el } from "./dom.js";
import { clock, count, momentOf, short } from "./format.js";

export class Session {
  constructor(id) {
    this.id = id;
    this.clips = [];
  }

  async show() {
    byId("browse").hidden = true;
    byId("session").hidden = false;
    try {
      this.fill(await ask(`/api/sessions/${encodeURIComponent(this.id)}`));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      byId("session-title").textContent = error.status === 404 ? "No clips of this session" : "That did not work";
      const told = error.status === 404 ? "The archive holds no clips of it: it may have none, or is not archived yet." : error.message;
      byId("session-facts").textContent = told;
      if (error.status === 503) setTimeout(() => this.show(), 1500);
    }
  }

  fill(session) {
    this.clips = session.clips;
    const title = `Session of ${momentOf(session.at_ms)}`;
    byId("session-title").textContent = title;
    document.title = `${title} · Clips`;
    const length = session.started_ms && session.finished_ms ? (session.finished_ms - session.started_ms) / 1000 : 0;
    const pictures = session.clips.some((clip) => clip.poster);
    byId("session-facts").replaceChildren(
      el("span", {}, count(session.clips.length, "clip")),
      ...(length ? [el("span", {}, `${clock(length)} long`)] : []),
      el("span", {}, el("a", { href: `/?study=${encodeURIComponent(session.study_uuid || "")}` }, `Study ${short(session.study_uuid)}`)),
      ...(pictures ? [el("span", {}, el("a", { href: `/sheets/${session.session_id}.jpg` }, "Contact sheet"))] : []),
      el("span", {}, el("code", {}, session.session_id)),
    );
    this.draw(session.clips, length * 1000);
    byId("session-grid").replaceChildren(...session.clips.map((clip) => card(clip, [], true)));
  }

  // Where in the session its clips are.
  draw(clips, lengthMs) {
    const placed = clips.filter((clip) => clip.time_start_ms !== null && clip.time_end_ms > clip.time_start_ms);
    const end = Math.max(lengthMs, ...placed.map((clip) => clip.time_end_ms));
    byId("timeline").hidden = !placed.length;
    const bars = placed.map((clip) => {
      const name = `${clip.name || "Clip"}, ${clock(clip.time_start_ms / 1000)} to ${clock(clip.time_end_ms / 1000)}`;
      const bar = el("a", { href: clipHash(clip), title: name, "aria-label": name, class: clip.stored ? null : "absent" });
      bar.style.left = `${(100 * clip.time_start_ms) / end}%`;
      bar.style.width = `${(100 * (clip.time_end_ms - clip.time_start_ms)) / end}%`;
      return bar;
    });
    byId("timeline").replaceChildren(...bars, el("span", {}, "0:00"), el("span", {}, clock(end / 1000)));
  }
}
