// The page's start: who serves it (`/view/about`), whether it wants a token, which views there are; then the shell.

import { render, h } from "./dom.js";
import { ask } from "./live.js";
import { Shell } from "./shell.js";
import { fromAddress, isKept } from "./token.js";
import { tokenForm } from "./views/token.js";
import * as gateway from "./views/gateway.js";
import * as master from "./views/master.js";

const RETRY_MS = 3000;
const main = document.getElementById("main");

/** Asks until the server has answered. */
async function start() {
  try {
    const about = await ask("/view/about");
    const { views, home } = about.kind === "master" ? master : gateway;
    new Shell({ about, views, home, onRefused: wantToken });
  } catch (error) {
    if (error.status === 401 || error.status === 403) wantToken(error.message);
    else {
      render(main, h("h1", { tabindex: -1 }, "No answer"),
        h("p", { role: "alert" }, `The server that this page came from does not say who it is: ${error.message}. `,
          "It is asked again every few seconds."));
      setTimeout(start, RETRY_MS);
    }
  }
}

function wantToken(error) {
  tokenForm(main, { error, wrong: isKept(), onToken: start });
}

document.getElementById("skip").addEventListener("click", (event) => {
  // The address names the view: it must not become "#main".
  event.preventDefault();
  main.focus();
});
// A link with a token may be opened where the page is open already.
addEventListener("hashchange", () => fromAddress() && location.reload());
fromAddress();
start();
