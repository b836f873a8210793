// Where axes have their ticks: round values, round times of the reader's own zone.

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** About `wanted` round values from 0 (or `low`) to at least `high`; `base` is 10, or 1024 for bytes. */
export function valueTicks(low, high, wanted, base = 10) {
  const range = Math.max(high - low, Number.MIN_VALUE);
  const rough = range / wanted;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const factors = base === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 2.5, 5, 10];
  const step = power * (factors.find((factor) => factor * power >= rough) ?? base);
  const first = Math.floor(low / step) * step;
  const ticks = [];
  for (let at = first; ticks.length <= wanted * 2; at += step) {
    ticks.push(Number(at.toPrecision(12)));
    if (at >= high - step * 1e-9) break;
  }
  return ticks;
}

/** Round times between two (Unix seconds), at most `wanted`, with labels. */
export function timeTicks(from, to, wanted) {
  const step = STEPS_S.find((one) => (to - from) / one <= wanted) ?? Math.ceil((to - from) / wanted / 604_800) * 604_800;
  const zone = new Date(from * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) ticks.push({ at, label: label(at, step) });
  return ticks;
}

function label(at, step) {
  const time = new Date(at * 1000);
  const two = (value) => String(value).padStart(2, "0");
  if (step >= 86_400) return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const minutes = `${two(time.getHours())}:${two(time.getMinutes())}`;
  return step < 60 ? `${minutes}:${two(time.getSeconds())}` : minutes;
}

/** The index of the point nearest to a time. */
export function nearest(times, at) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - times[low - 1] < times[low] - at ? low - 1 : low;
}
