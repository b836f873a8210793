// A plot over time: lines in SVG with axes and units, a reading under the pointer, and the same as a table for those who
// would rather read figures or cannot see lines. An island (see dom.js), for it has to know how wide it is.

import { h, render } from "./dom.js";
import { moment } from "./format.js";
import { nearest, timeTicks, valueTicks } from "./scale.js";

const HEIGHT = 168;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 58 };
/** A pause of so many times the usual one between points is drawn as a gap. */
const GAP = 4;

/**
 * `props`: `title`; `times` (Unix seconds, ascending); `series`: `{ name, values }` with null where nothing is known, two at
 * most; `format(value)`; `low`, `high`: what the axis shows at least; `top`: and at most; `base` of round values; `mark`:
 * `{ value, label }`, a line across.
 */
export class Plot {
  constructor(element, props) {
    this.element = element;
    this.observer = new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width === this.width) return;
      this.width = width;
      this.draw();
    });
    this.observer.observe(element);
    this.width = Math.round(element.getBoundingClientRect().width);
    this.update(props);
  }

  update(props) {
    this.props = props;
    this.draw();
  }

  destroy() {
    this.observer.disconnect();
  }

  draw() {
    const { title, times, series, format } = this.props;
    const lines = series.filter(({ values }) => values.some((value) => value !== null));
    render(this.element, h("figure", { class: "plot" },
      h("figcaption", null, h("span", { class: "plot-title" }, title),
        lines.length > 1 ? h("span", { class: "legend" }, lines.map(({ name }, at) => h("span", { key: name },
          h("svg", { width: 22, height: 8, "aria-hidden": "true" }, h("path", { d: "M1 4h20", class: `plot-line line-${at}` })), name))) : null,
        h("span", { class: "reading" }, this.reading(lines))),
      lines.length === 0 || times.length < 2
        ? h("p", { class: "quiet-text" }, "No figures over time yet: they come as the node reports.")
        : [this.width > 0 ? this.picture(lines) : null, this.table(lines, format)]));
  }

  /** What is under the pointer, or the newest. */
  reading(lines) {
    const { times, format } = this.props;
    const texts = lines.map(({ name, values }) => {
      const at = this.at ?? values.findLastIndex((value) => value !== null);
      const value = at >= 0 && at < values.length ? values[at] : null;
      return value === null ? null : `${lines.length > 1 ? `${name} ` : ""}${format(value)}`;
    }).filter(Boolean);
    if (texts.length === 0) return "";
    return this.at === undefined ? `now ${texts.join(", ")}` : `${moment(times[this.at] * 1000)}: ${texts.join(", ")}`;
  }

  picture(lines) {
    const { title, times, format, mark, low = 0, high = 0, top = Infinity, base } = this.props;
    const all = lines.flatMap(({ values }) => values.filter((value) => value !== null));
    const ticks = valueTicks(low, Math.max(high, mark?.value ?? 0, ...all), 4, base).filter((tick) => tick <= top);
    const bottom = ticks[0];
    const ceiling = Math.max(ticks.at(-1), bottom + Number.EPSILON);
    const from = times[0];
    const to = Math.max(times.at(-1), from + 1);
    const x = (time) => MARGIN.left + (time - from) / (to - from) * (this.width - MARGIN.left - MARGIN.right);
    const y = (value) => HEIGHT - MARGIN.bottom - (value - bottom) / (ceiling - bottom) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    const right = this.width - MARGIN.right;
    const label = `${title}, ${moment(from * 1000)} to ${moment(to * 1000)}: ${lines.map(({ name, values }) => {
      const held = values.filter((value) => value !== null);
      return `${name} between ${format(Math.min(...held))} and ${format(Math.max(...held))}, newest ${format(held.at(-1))}`;
    }).join("; ")}${mark ? `; ${mark.label} ${format(mark.value)}` : ""}`;
    return h("svg", {
      role: "img", "aria-label": label, width: this.width, height: HEIGHT, viewBox: `0 0 ${this.width} ${HEIGHT}`,
      on: {
        pointermove: (event) => this.point(event, from, to),
        pointerleave: () => { this.at = undefined; this.draw(); },
      },
    },
    ticks.map((tick) => h("g", { key: `y${tick}` },
      h("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y(tick), y2: y(tick) }),
      h("text", { class: "axis", x: MARGIN.left - 6, y: y(tick) + 4, "text-anchor": "end" }, format(tick)))),
    timeTicks(from, to, Math.max(2, Math.floor(this.width / 90))).map((tick) => h("g", { key: `x${tick.at}` },
      h("line", { class: "grid", x1: x(tick.at), x2: x(tick.at), y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
      h("text", { class: "axis", x: x(tick.at), y: HEIGHT - 5, "text-anchor": "middle" }, tick.label))),
    mark ? h("g", { key: "mark" },
      h("line", { class: "mark", x1: MARGIN.left, x2: right, y1: y(mark.value), y2: y(mark.value) }),
      h("text", { class: "axis", x: right, y: y(mark.value) - 4, "text-anchor": "end" }, `${mark.label} ${format(mark.value)}`)) : null,
    lines.map(({ name, values }, at) => h("path", {
      key: `line ${name}`, class: `plot-line line-${at}`, d: path(times, values, x, y),
    })),
    this.at !== undefined && this.at < times.length ? h("g", { key: "at" },
      h("line", { class: "cursor", x1: x(times[this.at]), x2: x(times[this.at]), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      lines.map(({ values }) => values[this.at] === null ? null
        : h("circle", { class: "cursor-dot", cx: x(times[this.at]), cy: y(values[this.at]), r: 3.5 }))) : null);
  }

  point(event, from, to) {
    const inside = event.offsetX - MARGIN.left;
    const share = inside / (this.width - MARGIN.left - MARGIN.right);
    const at = nearest(this.props.times, from + share * (to - from));
    if (at === this.at) return;
    this.at = at;
    this.draw();
  }

  table(lines, format) {
    const { title, times } = this.props;
    return h("details", {
      class: "as-table", key: "table", on: { toggle: (event) => { this.open = event.target.open; this.draw(); } },
    }, h("summary", null, "As a table", h("span", { class: "unseen" }, `: ${title}`)),
    this.open ? h("div", { class: "table-box short", tabindex: 0, role: "region", "aria-label": `${title}, figures` }, h("table", { class: "small plain" },
      h("caption", { class: "unseen" }, title),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Time"),
        lines.map(({ name }) => h("th", { scope: "col", key: name, class: "numeric" }, name)))),
      h("tbody", null, times.map((time, at) => at).reverse().map((at) => h("tr", { key: String(times[at]) },
        h("th", { scope: "row" }, moment(times[at] * 1000)),
        lines.map(({ name, values }) => h("td", { key: name, class: "numeric" }, values[at] === null ? "\u2013" : format(values[at]))))))))
      : null);
  }
}

/** The line through the points, broken where nothing is known; a lone point is a dot. */
function path(times, values, x, y) {
  const pauses = times.slice(1).map((time, at) => time - times[at]).sort((a, b) => a - b);
  const longest = (pauses[pauses.length >> 1] ?? 1) * GAP;
  let text = "";
  let before = null;
  times.forEach((time, at) => {
    const value = values[at];
    if (value === null) return;
    const here = `${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    const joined = before !== null && before === previous(values, at) && time - times[before] <= longest;
    text += joined ? `L${here}` : `M${here}h.01`;
    before = at;
  });
  return text;
}

function previous(values, at) {
  return at > 0 && values[at - 1] !== null ? at - 1 : null;
}

/** A column of points as `values` of a series. */
export function column(points, field) {
  return points.map((point) => point[field] ?? null);
}

/** What a counter grew by per minute; a counter that fell began anew. */
export function rate(points, field) {
  return points.map((point, at) => {
    const before = points[at - 1];
    if (!before || typeof point[field] !== "number" || typeof before[field] !== "number") return null;
    const grown = point[field] - before[field];
    return grown < 0 || point.at <= before.at ? null : grown / (point.at - before.at) * 60;
  });
}
