// Numbers, times and states in words.

const number = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const moment = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export const count = (many, one, more = `${one}s`) => `${number.format(many)} ${many === 1 ? one : more}`;
export const dayOf = (ms) => day.format(new Date(ms));
export const momentOf = (ms) => moment.format(new Date(ms));
export const short = (uuid) => (uuid || "unknown").slice(0, 8);

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 0.0005));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function size(bytes) {
  if (bytes < 1e6) return `${number.format(Math.max(1, Math.round(bytes / 1e3)))} kB`;
  return `${number.format(Math.round(bytes / 1e5) / 10)} MB`;
}

export const STATUS = {
  STORED: "Stored",
  GENERATING: "Still being generated",
  ERROR: "Could not be generated",
  MISSING: "Not stored yet",
  deleted: "Deleted at UserTesting",
};
export const statusOf = (status) => STATUS[status] || status;
