// The form that asks for the token, where the server wants one.

import { h, render } from "../dom.js";
import { forget, keep } from "../token.js";

/** Draws the form into `main`; `error` is what the server said, `wrong` that a token was sent. `onToken()` tries again. */
export function tokenForm(main, { error, wrong, onToken }) {
  if (wrong) forget();
  document.title = "Token needed";
  main.classList.remove("stale");
  render(main, h("div", { key: "title", class: "title" }, h("h1", { tabindex: -1 }, "This page needs a token")),
    h("form", { key: "token", class: "token", on: { submit: (event) => {
      event.preventDefault();
      const token = event.target.elements.token.value.trim();
      if (token === "") return;
      keep(token);
      onToken();
    } } },
    wrong ? h("p", { id: "token-error", class: "notice bad", role: "alert" }, "The server does not take this token.") : null,
    h("p", { id: "token-help" }, error || "The server listens beyond this machine and shows its data to those with its token alone."),
    h("label", null, h("span", null, "Token"), h("input", {
      key: "token", type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false",
      "aria-describedby": "token-help", "aria-invalid": wrong ? "true" : null,
    })),
    h("button", { type: "submit" }, "Show the page"),
    h("p", { class: "quiet-text" }, "It is kept in this tab alone, until the tab is closed.")));
  const field = main.querySelector("input");
  if (wrong) field.value = "";
  field.focus();
}
