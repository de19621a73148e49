// Elements from text: everything a person or an archive wrote becomes a text node, never markup.

export const byId = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const WORD = /[\p{L}\p{N}\p{M}]+/gu;

const folded = (word) => word.normalize("NFD").replace(/\p{M}/gu, "").normalize("NFC").toLowerCase();

// A text's pieces, with the words that were looked for marked.
export function marked(text, words) {
  if (!words.length) return [text];
  const pieces = [];
  let end = 0;
  for (const found of text.matchAll(WORD)) {
    if (!words.some((word) => folded(found[0]).startsWith(word))) continue;
    pieces.push(text.slice(end, found.index), el("mark", {}, found[0]));
    end = found.index + found[0].length;
  }
  return [...pieces, text.slice(end)];
}
