// The tail of a task's log, followed live. It scrolls along as long as the reader is at the end, keeps a bounded part of it,
// and rests when told to. An island (see dom.js): lines are only ever added, and the reader's place in them is not ours.

import { h, render, shown } from "./dom.js";
import { bytes, count } from "./format.js";
import { Stream } from "./live.js";

/** What is kept on the page. */
const LINES_MAX = 2000;
const LINE_CHARS_MAX = 4000;
/** How much of what is there already is shown at first, bytes. */
const TAIL_BYTES = 32 << 10;
/** Nearer to the end than this is at the end, pixels. */
const AT_END = 24;

/** `props`: `path` of the log, `begin` and `end` of what the server has, bytes. */
export class Log {
  constructor(element, props) {
    this.element = element;
    this.box = document.createElement("div");
    this.box.className = "log-lines";
    Object.entries({ tabindex: "0", role: "region", "aria-label": "Log of the task" })
      .forEach(([name, value]) => this.box.setAttribute(name, value));
    this.box.addEventListener("scroll", () => this.scrolled());
    this.controls = document.createElement("div");
    this.controls.className = "log-controls";
    element.append(this.controls, this.box);
    this.props = props;
    this.pending = "";
    this.missed = 0;
    this.dropped = 0;
    this.state = "connecting";
    this.next = Math.max(props.begin, props.end - TAIL_BYTES);
    this.skipped = this.next - props.begin;
    this.listen();
    this.draw();
  }

  update(props) {
    this.props = props;
  }

  destroy() {
    this.stream?.close();
  }

  listen() {
    this.stream = new Stream(() => `${this.props.path}?offset=${this.next}`, {
      pollable: false,
      onEvent: ({ type, data }) => type === "log" && this.take(data),
      onState: ({ state, error }) => {
        Object.assign(this, { state, error });
        this.draw();
      },
    });
  }

  take({ data, end, offset }) {
    // The server may have thrown away what was asked for.
    if (offset > this.next) this.add(`\u2026 ${bytes(offset - this.next)} are no longer kept \u2026\n`);
    this.next = end;
    if (data) this.add(data);
  }

  add(text) {
    const stays = this.atEnd();
    const lines = (this.pending + text.replaceAll("\r\n", "\n")).split("\n");
    this.pending = lines.pop().slice(0, LINE_CHARS_MAX);
    if (this.open) this.open.remove();
    const added = document.createDocumentFragment();
    const row = (line) => {
      const element = document.createElement("div");
      element.dir = "auto";
      element.textContent = shown(line.slice(0, LINE_CHARS_MAX)) || "\n";
      return element;
    };
    added.append(...lines.slice(-LINES_MAX).map(row));
    this.open = this.pending ? row(this.pending) : null;
    if (this.open) added.append(this.open);
    this.box.append(added);
    while (this.box.childElementCount > LINES_MAX) {
      this.box.firstChild.remove();
      this.dropped += 1;
    }
    if (stays) this.toEnd();
    else this.missed += lines.length;
    this.draw();
  }

  atEnd() {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < AT_END;
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
    this.missed = 0;
  }

  scrolled() {
    if (this.missed > 0 && this.atEnd()) {
      this.missed = 0;
      this.draw();
    }
  }

  pause() {
    if (this.stream) {
      this.stream.close();
      this.stream = null;
      this.state = "paused";
    } else {
      this.listen();
    }
    this.draw();
  }

  fromBegin() {
    this.stream?.close();
    this.box.replaceChildren();
    Object.assign(this, { next: this.props.begin, skipped: 0, pending: "", open: null, missed: 0, dropped: 0 });
    this.listen();
    this.draw();
  }

  draw() {
    const paused = this.state === "paused";
    const says = {
      connecting: "connecting", live: "follows live", polling: "follows", waiting: "reconnecting", resting: "paused while hidden",
      refused: this.error, paused: "paused",
    }[this.state];
    const emptied = this.box.childElementCount === 0;
    render(this.controls,
      h("button", { key: "pause", type: "button", class: "quiet", "aria-pressed": String(paused), on: { click: () => this.pause() } }, "Pause"),
      h("span", { key: "says", class: "quiet-text" }, says, emptied ? ", nothing logged yet" : ""),
      this.skipped > 0 ? h("button", { key: "all", type: "button", class: "quiet", on: { click: () => this.fromBegin() } },
        `Show the ${bytes(this.skipped)} before`) : null,
      this.dropped > 0 ? h("span", { key: "dropped", class: "quiet-text" }, `the newest ${count(LINES_MAX, "line")} are kept here`) : null,
      this.missed > 0 ? h("button", { key: "end", type: "button", class: "to-end", on: { click: () => { this.toEnd(); this.draw(); } } },
        `${count(this.missed, "new line")} below`) : null);
  }
}
