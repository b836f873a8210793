// Server-sent events over fetch(), for EventSource cannot send the token. A stream comes back by itself: with back-off after
// a failure, at once when the network or the tab does. It rests while the tab is hidden, for a browser gives one server six
// connections, and the server has a limit too. Where the server has no stream left, the document is asked for instead.

import { headers } from "./token.js";

/** Nothing for so long, not even a comment (each 15 s), and the connection is taken for dead. */
const SILENCE_MS = 40_000;
const BACKOFF_MS = { first: 1000, longest: 30_000 };
/** A hidden tab keeps its stream for so long. */
const HIDDEN_MS = 10_000;
/** How often a document is asked for that cannot be streamed. */
const POLL_MS = 5000;
/** One event takes no more than this; what is longer is not ours. */
const EVENT_CHARS_MAX = 16 << 20;

/**
 * One stream. `path` is a text or a function of the last event's id; `onEvent({ type, data, id })` gets parsed JSON;
 * `onState({ state, retryAt, error, status })` gets `connecting`, `live`, `polling`, `waiting` (until `retryAt`),
 * `resting` or `refused` (the server said no with `status`, and asking again is of no use).
 */
export class Stream {
  constructor(path, { onEvent, onState, pollable = true }) {
    Object.assign(this, { path, onEvent, onState, pollable });
    this.lastId = null;
    this.failures = 0;
    this.heardAt = 0;
    this.wake = () => this.#wake();
    document.addEventListener("visibilitychange", this.wake);
    addEventListener("online", this.wake);
    this.#connect();
  }

  /** Ends it for good. */
  close() {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.wake);
    removeEventListener("online", this.wake);
    this.#stop();
  }

  /** Does not wait for the back-off. */
  retry() {
    this.#stop();
    this.#connect();
  }

  #stop() {
    clearTimeout(this.timer);
    clearTimeout(this.hiding);
    clearInterval(this.watchdog);
    this.abort?.abort();
    this.abort = null;
  }

  #wake() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.#stop();
        this.#say("resting");
      }, HIDDEN_MS);
    } else if (this.state === "resting" || this.state === "waiting") {
      this.retry();
    }
  }

  #say(state, more = {}) {
    this.state = state;
    this.onState({ state, ...more });
  }

  async #connect() {
    if (this.state !== "waiting") this.#say("connecting");
    const abort = new AbortController();
    this.abort = abort;
    const path = typeof this.path === "function" ? this.path(this.lastId) : this.path;
    try {
      const response = await fetch(path, {
        headers: headers("text/event-stream"), signal: abort.signal, cache: "no-store",
      });
      if (response.status === 503 && this.pollable) {
        await this.#poll(path, abort);
      } else if (!response.ok) {
        const error = await reason(response);
        if (abort.signal.aborted) return;
        // What was asked for wrongly is wrong the next time too; the server's own trouble may pass.
        if (response.status < 500) this.#say("refused", { error, status: response.status });
        else this.#later(error);
        return;
      } else {
        await this.#read(response, abort);
      }
      if (!abort.signal.aborted) this.#later("the server ended the stream");
    } catch (error) {
      if (!abort.signal.aborted || abort.signal.reason === SILENT) this.#later(error.message);
    }
  }

  /** Asks for the document now and then, for no stream is to be had. */
  async #poll(path, abort) {
    while (!abort.signal.aborted) {
      const data = await ask(path, abort.signal);
      if (abort.signal.aborted) return;
      this.failures = 0;
      this.#say("polling");
      this.onEvent({ type: "view", data, id: null });
      await new Promise((resolve) => { this.timer = setTimeout(resolve, POLL_MS); });
    }
  }

  async #read(response, abort) {
    this.heardAt = Date.now();
    this.watchdog = setInterval(() => {
      if (Date.now() - this.heardAt > SILENCE_MS) abort.abort(SILENT);
    }, SILENCE_MS / 8);
    try {
      this.#say("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new Parser((event) => {
        if (event.type === "gone") {
          this.#stop();
          this.#say("refused", { error: event.data.error, status: 404 });
          return;
        }
        this.failures = 0;
        if (event.id !== null) this.lastId = event.id;
        this.onEvent(event);
      });
      for (;;) {
        const { value, done } = await reader.read();
        if (done || abort.signal.aborted) return;
        this.heardAt = Date.now();
        parser.take(value);
      }
    } finally {
      clearInterval(this.watchdog);
    }
  }

  #later(error) {
    if (this.closed) return;
    this.#stop();
    const longest = Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** this.failures);
    const wait = longest * (0.7 + 0.3 * Math.random());
    this.failures += 1;
    this.timer = setTimeout(() => this.#connect(), wait);
    this.#say("waiting", { error, retryAt: Date.now() + wait });
  }
}

const SILENT = new Error("the server went silent");

/** The text/event-stream format of the HTML standard, as far as it is used here; data is JSON. */
export class Parser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.#clear();
  }

  #clear() {
    this.event = { type: "message", data: [], id: null };
  }

  take(text) {
    const lines = (this.rest + text).split(/\r\n|\n/);
    this.rest = lines.pop();
    if (this.rest.length > EVENT_CHARS_MAX) throw new Error("an event without an end");
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      const { type, data, id } = this.event;
      this.#clear();
      if (data.length > 0) this.onEvent({ type, data: JSON.parse(data.join("\n")), id });
      return;
    }
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") this.event.type = value;
    else if (field === "data") this.event.data.push(value ?? "");
    else if (field === "id") this.event.id = value;
  }
}

/** What the server says went wrong. */
async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `${response.status} ${response.statusText}`;
  }
}

/** One document, once. */
export async function ask(path, signal = null) {
  const response = await fetch(path, { headers: headers("application/json"), cache: "no-store", signal });
  if (!response.ok) throw Object.assign(new Error(await reason(response)), { status: response.status });
  return response.json();
}
