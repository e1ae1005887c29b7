// Formats numbers and times. A missing value is a dash, never a zero.

export const DASH = "–";
const MINUS = "−";

/** About `digits` significant digits, with an exponent only where needed; only zero is shown as 0. */
export function number(value, digits = 4) {
  if (!known(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return minus(value.toExponential(Math.max(0, digits - 2)));
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const text = value.toFixed(Math.min(places, digits));
  return minus(Number(text) ? text : value.toFixed(1 - Math.floor(Math.log10(size))));
}

/** A formatter for a column: the decimal places that give its largest value `digits` significant digits. */
export function column(values, digits = 4) {
  const largest = Math.max(0, ...values.filter(known).map(Math.abs));
  if (!largest || largest >= 1e6 || largest < 1e-3) return (value) => number(value, digits);
  const places = Math.min(Math.max(0, digits - 1 - Math.floor(Math.log10(largest))), digits + 1);
  const lost = (value) => value !== 0 && Number(value.toFixed(places)) === 0;
  return (value) => (known(value) && !lost(value) ? minus(value.toFixed(places)) : number(value, digits));
}

/** A number with its sign, for differences. */
export function signed(value, digits = 3) {
  return known(value) && value > 0 ? `+${number(value, digits)}` : number(value, digits);
}

export function rank(value) {
  return known(value) ? String(Math.round(value * 100) / 100) : DASH;
}

/** A number of attended frames: '12', '17.5'. */
export function framesText(frames) {
  return String(Math.round(frames * 10) / 10);
}

export function interval(pair, digits = 4) {
  return pair && known(pair[0]) && known(pair[1])
    ? `${number(pair[0], digits)} to ${number(pair[1], digits)}`
    : "no interval";
}

/** 3725 -> '1:02:05', 65 -> '1:05'. */
export function clock(seconds) {
  if (!known(seconds)) return DASH;
  const whole = Math.max(0, Math.round(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : String(part))).join(":");
}

/** '12 s ago', '3 h ago', then the date. */
export function ago(stamp) {
  const then = Date.parse(stamp ?? "");
  if (Number.isNaN(then)) return DASH;
  const seconds = Math.max(0, (Date.now() - then) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return when(stamp);
}

/** Date, hour and minute in local time. */
export function when(stamp) {
  const then = new Date(stamp ?? NaN);
  if (Number.isNaN(then.getTime())) return DASH;
  const two = (part) => String(part).padStart(2, "0");
  const day = [then.getFullYear(), two(then.getMonth() + 1), two(then.getDate())].join("-");
  return `${day} ${two(then.getHours())}:${two(then.getMinutes())}`;
}

export function count(amount, noun) {
  return `${amount.toLocaleString("en")} ${noun}${amount === 1 ? "" : "s"}`;
}

/** 'subject_consistency' -> 'subject consistency'. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}

export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function minus(text) {
  return text.startsWith("-") ? MINUS + text.slice(1) : text;
}
