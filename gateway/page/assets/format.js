// Figures as people read them. Unknown is a dash, never a zero.

/** What stands for what is not known. */
export const UNKNOWN = "\u2013";

const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** A number with thousands apart, at most `digits` decimals. */
export function number(value, digits = 0) {
  return known(value) ? value.toLocaleString("en", { maximumFractionDigits: digits }) : UNKNOWN;
}

/** Thousandths of a core as Mesos writes `cpus`. */
export function cpus(permille) {
  return known(permille) ? number(permille / 1000, permille < 10_000 ? 3 : permille < 100_000 ? 1 : 0) : UNKNOWN;
}

/** Bytes in binary units. */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = value;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${number(amount, amount < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

/** Hundredths. */
export function percent(value, digits = 0) {
  return known(value) ? `${number(value, digits)}%` : UNKNOWN;
}

/** A span of time in its two largest units. */
export function span(ms) {
  if (!known(ms)) return UNKNOWN;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  const parts = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const at = parts.findIndex(([, size]) => whole >= size);
  const [unit, size] = parts[at];
  const first = `${number(Math.floor(whole / size))} ${unit}`;
  const [lesser, small] = parts[at + 1] ?? [];
  const rest = small ? Math.floor((whole % size) / small) : 0;
  return rest && whole < size * 10 ? `${first} ${rest} ${lesser}` : first;
}

/** How far the server's clock is before this one, milliseconds. */
let ahead = 0;

/** Takes the time at which a server made its newest document, Unix milliseconds. */
export function setClock(at) {
  if (known(at)) ahead = at - Date.now();
}

/** How long ago something at a Unix time in milliseconds was, by the server's clock. */
export function age(then) {
  return known(then) ? span(Math.max(0, Date.now() + ahead - then)) : UNKNOWN;
}

/** The same in words; later than now is a time to come. */
export function ago(then) {
  if (!known(then)) return UNKNOWN;
  const passed = Date.now() + ahead - then;
  return passed < -500 ? `in ${span(-passed)}` : `${age(then)} ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** Unix milliseconds as the time of day, with the day unless it is today. */
export function moment(ms, today = Date.now()) {
  if (!known(ms)) return UNKNOWN;
  const day = DAY.format(ms);
  return day === DAY.format(today) ? CLOCK.format(ms) : `${day} ${CLOCK.format(ms)}`;
}

/** The same for machines. */
export function iso(ms) {
  return known(ms) ? new Date(ms).toISOString() : null;
}

/** "1 node", "2 nodes". */
export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** An amount of a resource of Mesos: `mem` and `disk` are MB of 1,048,576 bytes. */
export function amount(name, value) {
  if (!known(value)) return UNKNOWN;
  return name === "mem" || name === "disk" ? bytes(value * 1_048_576) : number(value, 3);
}

/** Resources by name, in one line. */
export function resources(amounts) {
  const entries = Object.entries(amounts ?? {});
  if (entries.length === 0) return UNKNOWN;
  return entries.map(([name, value]) => `${name} ${amount(name, value)}`).join(", ");
}
