// One service: how it is, why, what it does, and what has happened to it.

import { get } from "./api.js";
import { allowed, action, shell } from "./ask.js";
import { h, keyed, say, serviceLink, set, show, symbol } from "./dom.js";
import { live } from "./live.js";
import * as parts from "./parts.js";
import { ago, bytes, clock, moment, reason } from "./words.js";

export function serviceView(path) {
  const mark = symbol("other");
  const state = h("span", { class: "pill" });
  const why = h("p", { class: "why" });
  const facts = h("dl", { class: "facts" });
  const buttons = h("div", { class: "buttons" });
  const chain = h("ol", { class: "chain" });
  const trace = h("pre", { tabindex: "0", "aria-label": "Traceback" });
  const failure = parts.section("Last failure", chain, trace);
  const children = h("ul", { class: "links" });
  const below = parts.section("Below it", children);
  const tasks = h("ul", { class: "links" });
  const look = h("button", { type: "button", on: { click: () => stacks(path, doing) } }, "What they do now");
  const doing = h("div", { class: "stacks", role: "status" });
  const busy = parts.section("Tasks", tasks, h("div", { class: "buttons" }, look), doing);
  const counters = h("dl", { class: "facts" });
  const counted = parts.section("Counted", counters);
  const settings = parts.settingList();
  const set_ = parts.section("Settings", settings);
  const events = parts.eventList();
  const happened = parts.section("Events", events);
  const empty = h("p", { class: "empty", role: "status" });
  const body = h("div", { class: "body", hidden: true }, failure, h("div", { class: "columns" }, h("div", {}, below, counted, busy), h("div", {}, happened)), set_);
  let seen = null;

  async function load() {
    let service;
    try {
      service = await get(`services/${path}`);
    } catch (error) {
      if (error.status === 404) {
        body.hidden = true;
        show(mark, "stopped");
        say(state, "gone");
        say(empty, "There is no such service in the tree now.");
      }
      return; // the head of the page tells of a lost connection
    }
    say(empty, "");
    draw(service);
    body.hidden = false;
  }

  function draw(service) {
    show(mark, service.state);
    say(state, service.state);
    set(state, "class", `pill is-${service.state}`);
    say(why, reason(service));
    parts.facts(facts, [
      ["Since", service.since && `${clock(service.since)}, ${ago(service.since)}`],
      ["Restarts", service.restarts],
      ["Class", service.kind],
      ["Address", service.address],
    ]);
    if (!allowed()) buttons.replaceChildren();
    else if (!buttons.firstChild) {
      buttons.append(
        action("Restart …", () => parts.restartService(path)),
        action("Reload …", () => parts.reloadService(path)),
      );
      // The root is the whole instance, and that is stopped from the overview.
      if (path.includes("/")) buttons.append(action("Stop …", () => parts.stopService(path), "grave"));
    }
    drawFailure(service.failure);
    list(below, children, service.children ?? [], (child) => child, (element, child) => {
      const node = live.paths.get(child);
      if (!element.firstChild) element.append(symbol("other"), serviceLink(child, child.split("/").at(-1)), h("span", { class: "more" }));
      show(element.firstChild, node?.state);
      say(element.lastChild, [node?.state, node && reason(node)].filter(Boolean).join(": "));
    });
    list(busy, tasks, grouped(service.tasks ?? []), (task) => task.name, (element, { name, number, since }) => {
      say(element, [number > 1 ? `${name} × ${number}` : name, since && ago(since)].filter(Boolean).join(" · "));
    });
    heading(busy, service.tasks?.length);
    const pairs = Object.entries(service.counters ?? {}).filter(([, value]) => Number.isFinite(value));
    counted.hidden = !pairs.length;
    parts.facts(counters, pairs.map(([name, value]) => [name.replaceAll("_", " "), name.startsWith("bytes") ? bytes(value) : value.toLocaleString("en")]));
    set_.hidden = !service.settings?.length;
    parts.settings(settings, service.settings ?? [], load);
    happened.hidden = !service.events?.length;
    parts.events(events, service.events ?? []);
  }

  function drawFailure(told) {
    failure.hidden = !told;
    if (!told) return;
    keyed(chain, told.chain.map((each, index) => ({ ...each, index })), (each) => each.index, () => h("li"), (element, each) => {
      const text = `${each.path}: ${each.phase} failed: ${each.error}: ${each.message}`;
      say(element, text);
    });
    trace.hidden = !told.traceback;
    say(trace, told.traceback ?? "");
  }

  return {
    element: h(
      "div",
      { class: "service" },
      h("nav", { "aria-label": "Where it is" }, h("ol", { class: "crumbs" }, ...crumbs(path))),
      h("div", { class: "headline" }, mark, h("h1", { tabindex: "-1" }, path.split("/").at(-1)), state),
      why,
      facts,
      h("div", { class: "line" }, buttons, h("a", { href: `#/logs?${new URLSearchParams({ service: path })}` }, "Its log")),
      empty,
      body,
    ),
    title: path,
    update() {
      shell("events", "--service", path);
      if (seen !== live.status) load();
      seen = live.status;
    },
  };
}

function crumbs(path) {
  const names = path.split("/");
  return names.map((name, index) => {
    const here = index === names.length - 1;
    return h("li", { "aria-current": here ? "page" : null }, here ? name : serviceLink(names.slice(0, index + 1).join("/"), name));
  });
}

// Where the tasks of a service and of those below it are at this moment.
async function stacks(path, into) {
  let found;
  try {
    found = (await get("dump")).stacks.filter(({ service }) => service === path || service?.startsWith(`${path}/`));
  } catch (error) {
    into.replaceChildren(h("p", { class: "why" }, error.message));
    return;
  }
  const drawn = found.flatMap(({ service, name, state, doing, frames }) => [
    h("h3", {}, [service, name ?? doing, state].filter(Boolean).join(" · ")),
    h("pre", { tabindex: "0", "aria-label": `Stack of ${name ?? doing}` }, frames.map(written).join("\n")),
  ]);
  into.replaceChildren(...(drawn.length ? drawn : [h("p", { class: "empty" }, "Nothing of it runs now.")]));
}

function written({ file, line, function: name, source }) {
  return `${file}:${line} in ${name}${source ? `\n    ${source}` : ""}`;
}

// Tasks of the same name are one line, with how many there are and since when the oldest.
function grouped(tasks) {
  const groups = new Map();
  for (const { name, since } of tasks) {
    const group = groups.get(name) ?? { name, number: 0, since };
    group.number += 1;
    if (moment(since) < moment(group.since)) group.since = since;
    groups.set(name, group);
  }
  return [...groups.values()];
}

function list(section, element, items, key, update) {
  section.hidden = !items.length;
  heading(section, items.length);
  keyed(element, items, key, () => h("li"), update);
}

function heading(section, number) {
  const title = section.firstElementChild;
  say(title, `${title.textContent.split(" (")[0]} (${number})`);
}
