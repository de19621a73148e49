// Search and filters, and the clips they find.

import { Problem, ask } from "./api.js";
import { card, ghosts } from "./cards.js";
import { byId, el } from "./dom.js";
import { count, dayOf, short, statusOf } from "./format.js";

const TYPING_MS = 120;
const FILTERS = ["study", "from", "to", "status", "sound"];
const FIELDS = ["q", ...FILTERS];
const dayMs = 86_400_000;

export class Browse {
  constructor() {
    this.clips = [];
    this.words = [];
    this.after = null;
    this.archive = null;
    this.asking = null;
    this.found = null;
    this.typing = 0;
    byId("q").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.changed(), TYPING_MS);
    });
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.typing);
      this.changed();
    });
    byId("filter-form").addEventListener("change", () => this.changed());
    byId("filter-form").addEventListener("submit", (event) => event.preventDefault());
    byId("clear").addEventListener("click", () => this.clear());
    byId("more").addEventListener("click", () => this.more());
    byId("grid").addEventListener("keydown", (event) => this.move(event));
    const wide = matchMedia("(min-width: 821px)");
    const fit = () => (byId("filters").open = wide.matches);
    wide.addEventListener("change", fit);
    fit();
    if ("IntersectionObserver" in window) {
      new IntersectionObserver((seen) => seen[0].isIntersecting && this.more(), { rootMargin: "500px" }).observe(byId("more"));
    }
  }

  // From the address: it is what a person bookmarks and hands on.
  read() {
    const given = new URLSearchParams(location.search);
    for (const name of FIELDS) this.set(name, given.get(name) || "");
    return this.find();
  }

  set(name, value) {
    const field = byId(name);
    if (field.tagName === "SELECT" && value && ![...field.options].some((option) => option.value === value)) {
      field.append(el("option", { value }, name === "study" ? `Study ${short(value)}` : value));
    }
    field.value = value;
  }

  changed() {
    const query = new URLSearchParams();
    for (const name of FIELDS) if (byId(name).value) query.set(name, byId(name).value);
    history.replaceState(history.state, "", `/${query.size ? `?${query}` : ""}`);
    return this.find();
  }

  clear() {
    for (const name of FIELDS) byId(name).value = "";
    byId("q").focus();
    return this.changed();
  }

  parameters() {
    const [from, to] = ["from", "to"].map((name) => byId(name).value && new Date(`${byId(name).value}T00:00`).getTime());
    return {
      q: byId("q").value.trim(),
      study: byId("study").value,
      status: byId("status").value,
      sound: byId("sound").value,
      since_ms: from > 0 ? from : "",
      until_ms: to > 0 ? new Date(to).setDate(new Date(to).getDate() + 1) : "",
    };
  }

  // A question that another one overtakes is answered when that one is: who waits for it finds the clips there.
  find() {
    return (this.latest = this.answer());
  }

  async answer() {
    this.address = location.search;
    const on = FILTERS.filter((name) => byId(name).value).length;
    byId("filters-on").hidden = !on;
    byId("filters-on").textContent = String(on);
    byId("clear").hidden = !on;
    const grid = byId("grid");
    if (!this.clips.length) grid.replaceChildren(...ghosts(8));
    grid.setAttribute("aria-busy", "true");
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    try {
      this.show(await ask("/api/search", this.parameters(), asking.signal));
    } catch (error) {
      if (!(error instanceof Problem)) {
        if (error.name !== "AbortError") throw error;
        return this.latest;
      }
      this.found = null;
      this.clips = [];
      this.after = null;
      grid.replaceChildren();
      byId("more").hidden = true;
      byId("count").textContent = "";
      if (error.status === 503) this.say("Getting ready", "The search index is being built. This takes a minute at most.");
      else this.say("That did not work", error.message, ["Try again", () => this.find()]);
    }
    grid.removeAttribute("aria-busy");
    return undefined;
  }

  show(found) {
    this.found = found;
    this.clips = found.clips;
    this.words = found.words;
    this.after = found.after;
    byId("grid").replaceChildren(...found.clips.map((clip) => card(clip, this.words)));
    byId("more").hidden = found.after === null;
    byId("empty").hidden = found.clips.length > 0;
    const asked = this.tellCount();
    if (!found.clips.length && asked) this.say("Nothing found", "Fewer or shorter words find more.", ["Clear search and filters", () => this.clear()]);
    else if (!found.clips.length) this.say("No clips yet", "They appear here as soon as the archive holds some.");
  }

  // Returns whether anything was asked for.
  tellCount() {
    const asked = FIELDS.some((name) => byId(name).value);
    const { total, more_than_counted: more } = this.found;
    const all = this.archive?.clips ?? 0;
    let told = "";
    if (asked) told = `${more ? "More than " : ""}${count(total, "clip")}`;
    else if (all) told = `${count(all, "clip")} from ${count(this.archive.sessions, "session")}, newest first`;
    byId("count").textContent = told;
    return asked;
  }

  async more() {
    if (this.after === null || this.loading) return false;
    this.loading = true;
    const from = this.after;
    try {
      const found = await ask("/api/search", { ...this.parameters(), after: from });
      if (this.after !== from) return false;
      this.clips = [...this.clips, ...found.clips];
      this.after = found.after;
      byId("grid").append(...found.clips.map((clip) => card(clip, this.words)));
      byId("more").hidden = found.after === null;
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return false;
    } finally {
      this.loading = false;
    }
  }

  say(title, text, action = null) {
    const button = action && el("button", { type: "button", class: "soft" }, action[0]);
    button?.addEventListener("click", action[1]);
    byId("empty").replaceChildren(el("strong", {}, title), el("span", {}, text), ...(button ? [el("br"), button] : []));
    byId("empty").hidden = false;
  }

  // The archive's studies and statuses, for the filters.
  know(archive) {
    this.archive = archive;
    byId("filters").hidden = !archive.clips; // nothing to narrow down yet
    const studies = archive.studies.filter((each) => each.study);
    const study = studies.map((each) => [each.study, `${short(each.study)} · ${count(each.clips, "clip")}, until ${dayOf(each.last_ms)}`]);
    const status = Object.entries(archive.statuses).filter(([key]) => key);
    fill(byId("study"), study);
    fill(byId("status"), status.map(([key, many]) => [key, `${statusOf(key)} (${many.toLocaleString("en")})`]));
    if (archive.first_ms !== null) {
      for (const name of ["from", "to"]) {
        byId(name).min = dateOf(archive.first_ms - dayMs);
        byId(name).max = dateOf(archive.last_ms + dayMs);
      }
    }
    if (this.found) this.tellCount();
  }

  // Arrow keys walk over the grid.
  move(event) {
    const links = [...byId("grid").querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const columns = getComputedStyle(byId("grid")).gridTemplateColumns.split(" ").length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!step || !links[at + step]) return;
    event.preventDefault();
    links[at + step].focus();
  }
}

function fill(select, options) {
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...options.map(([value, text]) => el("option", { value }, text)));
  if (chosen && !options.some(([value]) => value === chosen)) select.append(el("option", { value: chosen }, short(chosen)));
  select.value = chosen;
}

function dateOf(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
}
