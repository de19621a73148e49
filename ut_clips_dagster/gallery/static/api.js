// What the page asks the gallery for.

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  let answer;
  try {
    answer = await fetch(`${path}${query.size ? `?${query}` : ""}`, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The gallery does not answer. Is it still running?");
  }
  if (answer.ok) return answer.json();
  if (answer.status === 401) throw new Problem(401, "This gallery was started anew. Open the address that it printed.");
  if (answer.status === 503) throw new Problem(503, "The search index is being built.");
  if (answer.status === 404) throw new Problem(404, "There is no such clip or session in the archive.");
  const told = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, told.problem || "The gallery could not answer.");
}

export const clipHash = (clip, seconds = null) =>
  `#/clip/${clip.session_id}/${clip.clip_uuid}${seconds === null ? "" : `?t=${Math.round(seconds * 10) / 10}`}`;
