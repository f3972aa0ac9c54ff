// The page: which view is shown, and how the connection is. What is shown comes from live.js.

import { login } from "./api.js";
import { tell } from "./ask.js";
import { h, say, set } from "./dom.js";
import { eventsView } from "./events.js";
import { begin, live, refresh, watch } from "./live.js";
import { logsView } from "./logs.js";
import { overview } from "./overview.js";
import { serviceView } from "./service.js";
import { settingsView } from "./settings.js";
import { clock, overall } from "./words.js";

const VIEWS = {
  overview,
  events: eventsView,
  logs: logsView,
  settings: settingsView,
  service: serviceView,
};

const main = document.getElementById("main");
let view = null;
let shown = null; // the address that the view is of
let announced = "";
let pid = 0;

// "#/service/App/Db" -> the view, what it is of, and its query.
function route() {
  const [place, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = place.split("/").map(plain);
  const known = Object.hasOwn(VIEWS, name) && (name !== "service" || rest.some(Boolean));
  return [known ? name : "overview", rest.join("/"), new URLSearchParams(query)];
}

function plain(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function draw() {
  if (live.connection === "login") return signIn();
  const back = connection();
  if (!live.status) return;
  head(back);
  const [name, path, query] = route();
  const place = `${name} ${path}`;
  if (place !== shown) {
    const first = shown === null;
    view?.leave?.();
    view = VIEWS[name](path, query);
    main.replaceChildren(view.element);
    shown = place;
    for (const link of document.querySelectorAll("[data-view]")) {
      set(link, "aria-current", link.dataset.view === name ? "page" : null);
    }
    view.update();
    scrollTo(0, 0);
    if (!first) main.querySelector("h1").focus({ preventScroll: true });
  } else view.update();
  document.title = `${view.title} · ${live.status.name} is ${live.status.state}`;
}

function head(back) {
  const { status } = live;
  const [state, text] = overall(status);
  say(document.getElementById("name"), status.name);
  const pill = document.getElementById("pill");
  pill.hidden = false;
  set(pill, "class", `pill is-${state}`);
  say(pill, status.state);
  say(document.getElementById("version"), [`Ginkgo ${status.version ?? ""}`, status.actions ? "" : "read only"].filter(Boolean).join(" · "));
  const now = `${state} ${status.failed?.length ?? 0}`;
  const news = [];
  if (back) news.push(pid === status.pid ? "The connection is back." : "The connection is back; the process is a new one.");
  if (announced && announced !== now) news.push(text);
  if (news.length) tell(state, news.join(" "));
  announced = now;
  pid = status.pid;
}

// A lost connection is said, with how old what is shown is; what is shown stays, and fades.
// Returns whether it has just come back.
function connection() {
  const line = document.getElementById("lost");
  const lost = live.connection === "lost";
  document.body.classList.toggle("stale", lost);
  if (lost) {
    const old = live.freshAt ? ` What is shown is from ${clock(live.freshAt / 1000)}.` : "";
    const ended = ["stopping", "stopped"].includes(live.status?.state) ? "It was stopping, and answers no more." : "No answer.";
    say(line, `${ended}${old} Trying again …`);
  }
  const back = !lost && !line.hidden;
  line.hidden = !lost;
  return back;
}

function signIn() {
  const field = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const wrong = h("p", { class: "why", role: "alert" });
  const form = h(
    "form",
    {
      class: "login",
      on: {
        submit: (event) => {
          event.preventDefault();
          enter(field.value).catch((error) => say(wrong, [error.message, error.why].filter(Boolean).join(": ")));
        },
      },
    },
    h("h1", { tabindex: "-1" }, "Sign in"),
    h("p", {}, "This address asks for its token, the setting ", h("code", {}, "control_token"), "."),
    h("label", {}, "Token", field),
    wrong,
    h("div", { class: "buttons" }, h("button", { class: "main" }, "Sign in")),
  );
  if (shown === "login") return;
  view?.leave?.();
  shown = "login";
  main.replaceChildren(form);
  field.focus();
}

async function enter(token) {
  await login(token);
  live.connection = "connecting";
  shown = null;
  await refresh();
}

async function boot() {
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener("hashchange", draw);
  watch(draw);
  // A link may carry the token behind its #, which no server and no log sees; it does not stay there.
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    history.replaceState(null, "", "#/");
    await login(given).catch((error) => tell("failed", error.message));
  }
  begin();
}

boot();
