// What is around every view: navigation, the state of the connection, the heading, errors, and the one stream that the view
// lives by. A view says how it is called, what it asks for and how a document looks; it never touches the page itself.
//
// A view is `{ label, title({ args, doc }), lead({ doc }), source({ args, query }), collect(doc, event), render(doc, context) }`.

import { h, render } from "./dom.js";
import { moment, setClock } from "./format.js";
import { Stream } from "./live.js";
import { read, to, watch } from "./router.js";

const main = document.getElementById("main");
const announcer = document.getElementById("announcer");

/** Says something to those who do not see the page; politely, and only what matters. */
export function announce(text) {
  announcer.textContent = text;
}

export class Shell {
  /** `views` by name; `home` is shown where the address names none. `onRefused(text)` is called when the token is refused. */
  constructor({ about, views, home, onRefused }) {
    Object.assign(this, { about, home, onRefused });
    // A server says which documents it has; a view without its document is none.
    const served = new Set(about.views ?? Object.keys(views));
    this.views = Object.fromEntries(Object.entries(views).filter(([, view]) => !view.needs || served.has(view.needs)));
    this.asked = null;
    this.connection = { state: "connecting" };
    watch(() => this.go());
    this.ticker = setInterval(() => this.tick(), 1000);
    this.drawAround();
    this.go({ first: true });
  }

  /** Shows what the address names. */
  go({ first = false } = {}) {
    if (this.ended) return;
    const { name, args, query } = read();
    if (name === null) {
      history.replaceState(null, "", to(this.home));
      this.go({ first });
      return;
    }
    const view = this.views[name];
    const place = [name, ...args].join("/");
    const moved = place !== this.place;
    Object.assign(this, { place, view, args, query, name });
    if (moved) {
      this.doc = null;
      this.refusal = null;
      this.local = {};
      this.asked = null;
      // What stays of another view at the same place in the page is not the same thing.
      render(main);
      scrollTo(0, 0);
    }
    const source = view?.source({ args, query }) ?? null;
    if (source !== this.asked) {
      this.asked = source;
      this.narrowed = !moved;
      this.listen(source);
    }
    this.draw();
    if (moved) {
      this.drawAround();
      if (!first) main.querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  listen(source) {
    this.stream?.close();
    this.stream = null;
    if (source === null) return;
    let fresh = true;
    this.stream = new Stream(this.view.since ? (id) => this.view.since(source, id) : source, {
      pollable: !this.view.collect,
      onEvent: (event) => {
        const { collect } = this.view;
        if (!collect && event.type !== "view") return;
        this.doc = collect ? collect(fresh ? null : this.doc, event) : event.data;
        fresh = false;
        this.heardAt = Date.now();
        setClock(event.data?.at);
        if (this.narrowed && this.doc.matching !== undefined) announce(`${this.doc.matching} found`);
        this.narrowed = false;
        this.schedule();
      },
      onState: (connection) => this.connected(connection),
    });
  }

  connected(connection) {
    const before = this.connection.state;
    this.connection = connection;
    if (connection.state === "refused") {
      if (connection.status === 401) {
        this.end();
        this.onRefused(connection.error);
        return;
      }
      this.refusal = connection;
    }
    if (connection.state === "live" || connection.state === "polling") {
      // A view that collects has something to show, if only that nothing has come.
      this.doc ??= this.view.collect?.(null, { type: null }) ?? null;
      this.refusal = null;
      if (this.lost) announce("Connected again.");
      this.lost = false;
    } else if (connection.state === "waiting" && before !== "waiting" && !this.lost) {
      this.lost = true;
      announce("The connection is lost. What is shown may be out of date.");
    }
    this.drawConnection();
    this.schedule();
  }

  /** Times that are told as ages grow by themselves; what is out of date does not pretend to. */
  tick() {
    if (this.connection.state === "waiting") this.drawConnection();
    else if (this.doc && this.view?.ages) this.schedule();
  }

  /** Stops all of it. */
  end() {
    this.ended = true;
    clearInterval(this.ticker);
    this.stream?.close();
    render(document.getElementById("nav"));
    render(document.getElementById("link"));
  }

  /** Draws once for all that has come. */
  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      if (!this.ended) this.draw();
    });
  }

  draw() {
    const { view, args, query, doc, about } = this;
    const title = view ? view.title({ args, doc }) : "No such view";
    document.title = `${title} \u00b7 ${about.hostname ?? "Micro"}`;
    const stale = doc !== null && ["waiting", "refused"].includes(this.connection.state);
    main.classList.toggle("stale", stale);
    const context = {
      args, query, about, local: this.local, redraw: () => this.schedule(),
      retry: () => this.stream?.retry(),
    };
    render(main,
      h("div", { key: "title", class: "title" }, h("h1", { tabindex: -1 }, h("bdi", null, title)),
        view?.lead && doc ? h("p", { class: "lead" }, view.lead({ doc, about })) : null),
      stale ? h("p", { key: "stale", class: "notice warn" },
        `Out of date: last heard at ${moment(this.heardAt)}. `, this.connection.error ? `${sentence(this.connection.error)} ` : "",
        this.connection.state === "waiting" ? retryButton(this.stream) : null) : null,
      h("div", { key: "body", class: "body" }, this.body(context)));
  }

  body(context) {
    const { view, doc, refusal, connection } = this;
    if (!view) {
      return h("p", null, "This page has no view of that name. ", h("a", { href: to(this.home) }, "To the overview"), ".");
    }
    if (refusal && (refusal.status === 404 || !doc)) {
      return h("div", { class: "empty" }, h("p", null, sentence(refusal.error)),
        refusal.status === 404 && view.missing ? h("p", null, view.missing) : null,
        h("p", null, h("a", { href: to(this.home) }, "To the overview"), " ", retryButton(this.stream)));
    }
    if (!doc) {
      return connection.state === "waiting"
        ? h("p", { class: "notice warn" }, `No answer yet: ${sentence(connection.error)} `, retryButton(this.stream))
        : h("p", { class: "quiet-text" }, "Waiting for the first figures\u2026");
    }
    return view.render(doc, context);
  }

  /** Navigation, brand, notices, footer: what changes with the view alone. */
  drawAround() {
    const { about, views } = this;
    const current = this.view?.within ?? this.name;
    const shownViews = Object.entries(views).filter(([, view]) => view.label);
    render(document.getElementById("nav"), h("ul", null, shownViews.map(([name, view]) => h("li", { key: name },
      h("a", { href: to(name), "aria-current": name === current ? "page" : null }, view.label)))));
    render(document.getElementById("brand"), about.kind === "master" ? "Micro master" : "Micro gateway",
      about.hostname ? h("span", { class: "where" }, h("bdi", null, about.hostname)) : null);
    render(document.getElementById("notices"), about.kind !== "master" && about.insecure ? h("p", { class: "notice bad" },
      h("strong", null, "Insecure mode."), " Messages of nodes are neither encrypted nor verified: for the laboratory alone.") : null);
    render(document.getElementById("foot"), h("p", null, [
      about.version ? `version ${about.version}` : null,
      about.started_ms ? `started ${moment(about.started_ms)}` : null,
      about.kind === "master" && about.cluster ? `cluster ${about.cluster}` : null,
      about.kind === "master" && about.policy ? `allocation: ${about.policy}` : null,
      about.kind !== "master" ? `master: ${about.master ?? "none found yet"}` : null,
    ].filter(Boolean).join(" \u00b7 ")));
    this.drawConnection();
  }

  drawConnection() {
    const { state, retryAt } = this.connection;
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const [look, text] = {
      connecting: ["half", "Connecting"], live: ["disc", "Live"], polling: ["disc", "Every 5 s"],
      waiting: ["ring", seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting"],
      resting: ["ring", "Paused while hidden"], refused: ["ring", "Not connected"],
    }[state];
    render(document.getElementById("link"), h("span", { class: `dot ${look}`, "aria-hidden": "true" }),
      h("span", { class: "unseen" }, "Connection: "), text);
  }
}

function retryButton(stream) {
  return h("button", { type: "button", class: "quiet", on: { click: () => stream?.retry() } }, "Try now");
}

function sentence(text) {
  const trimmed = String(text ?? "").trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
