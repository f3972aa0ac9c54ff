// The first look: is it well, why not, since when, and what has changed.

import { act, action, allowed, command, shell } from "./ask.js";
import { h, say, set, show, symbol } from "./dom.js";
import { Graphs } from "./graphs.js";
import { live } from "./live.js";
import { eventList, events, facts, section, troubles } from "./parts.js";
import { Tree } from "./tree.js";
import { bytes, clock, count, duration, lag, moment, now, overall, percent, reason, since } from "./words.js";

const EVENTS = 20;

const tree = new Tree(); // what is opened in it stays so from one look to the next

export function overview() {
  const mark = symbol("other");
  const heading = h("h1", { tabindex: "-1" });
  const why = h("ul", { class: "troubles", "aria-label": "What to know" });
  const list = h("dl", { class: "facts" });
  const buttons = h("div", { class: "buttons" });
  const graphs = new Graphs();
  const recent = eventList();
  const nothing = h("p", { class: "empty" }, "Nothing has happened yet.");
  const element = h(
    "div",
    { class: "overview" },
    h("section", { class: "hero" }, h("div", { class: "headline" }, mark, heading), why, list, buttons),
    h("section", { "aria-label": "The last 15 minutes" }, graphs.element),
    h(
      "div",
      { class: "columns" },
      section("Services", tree.element),
      section("Last events", recent, nothing, h("p", { class: "hint" }, h("a", { href: "#/events" }, "All events"))),
    ),
  );
  return {
    element,
    title: "Overview",
    update() {
      const { status } = live;
      shell("status");
      const [state, text] = overall(status);
      show(mark, state);
      say(heading, text);
      set(element.firstElementChild, "class", `hero is-${state}`);
      troubles(why, wrong(status));
      facts(list, known(status));
      draw(buttons);
      graphs.update(live.samples, live.every);
      tree.update(live.tree);
      events(recent, live.events.slice(-EVENTS));
      nothing.hidden = live.events.length > 0;
    },
  };
}

// What is not as it should be, the worst first.
function wrong(status) {
  const items = [];
  for (const each of status.failed ?? []) {
    const { path, state } = each;
    items.push({ key: path, state: state === "ready" ? "degraded" : "failed", path, text: because(each, state === "ready" ? "" : "down ") || state });
  }
  const blocked = status.blocked?.now;
  if (blocked) {
    const by = [blocked.path, blocked.doing].filter(Boolean).join(": ");
    const text = `The ${blocked.loop ?? ""} loop is blocked for ${duration(blocked.seconds)}${by && ` by ${by}`}`;
    items.push({ key: "/blocked", state: "failed", text });
  }
  for (const each of status.not_ready ?? []) {
    const { path, state } = each;
    items.push({ key: `${path}/`, state, path, text: [state, because(each, "")].filter(Boolean).join(": ") });
  }
  const last = status.last_reload;
  if (last && last.outcome !== "done") {
    const reasons = [
      ...(last.refused ?? []),
      ...(last.failed ?? []).map((each) => `${each.path}: ${each.why ?? each.state}`),
    ];
    const text = `The last reload${last.at ? `, at ${clock(last.at)},` : ""} was ${last.outcome}: ${reasons.join("; ")}`;
    items.push({ key: "/reload", state: "degraded", text });
  }
  for (const each of last?.needs_restart ?? []) {
    const text = `${each.name} is ${each.new} in the configuration (${each.origin ?? "?"}), and in effect only after a restart`;
    items.push({ key: `/restart ${each.name}`, state: "degraded", text });
  }
  for (const { what, name, until, value, back_to: after } of status.for_now ?? []) {
    const long = until ? `for ${duration(moment(until) - now())} more` : "until it is stopped";
    const is = value == null ? "" : ` to ${value}`;
    const then = after == null ? "" : `, then it is ${after}`;
    const text = what === "set" ? `The setting ${name} is set${is} ${long}${then}` : `The logger ${name} has ${value == null ? "another level" : `the level ${value}`} ${long}${then}`;
    items.push({ key: `/${what} ${name}`, state: "other", text });
  }
  return items;
}

// Why, and since when.
function because(each, down) {
  const when = since(each.since);
  return [reason(each), when && `${down}${when}`].filter(Boolean).join(" – ");
}

function known(status) {
  const { blocked } = status;
  return [
    ["Target", status.target],
    ["State", status.since && !["ready", "starting"].includes(status.state) ? `${status.state} ${since(status.since)}` : null],
    ["Started", clock(status.started_at)],
    ["Process", status.pid],
    ["CPU", Number.isFinite(status.cpu) ? percent(status.cpu) : null],
    ["Memory", Number.isFinite(status.memory) ? bytes(status.memory) : null],
    ["Tasks", status.tasks],
    ["Threads", status.threads],
    ["Restarts", status.restarts],
    ["Connections", status.connections],
    ["Blocked", blocked?.count ? `${count(blocked.count, "time")}, ${lag(blocked.longest)} at most` : null],
    ["Last reload", status.last_reload?.outcome === "done" ? reloaded(status.last_reload) : null],
    ["Configuration", status.config],
    ["Backend", status.backend],
    ["Python", status.python],
  ];
}

function reloaded(report) {
  const changed = report.changed?.length ?? 0;
  const covered = report.covered?.length ?? 0;
  const later = covered ? `, ${count(covered, "new value")} covered by what is set for now` : "";
  return `${clock(report.at)}, ${changed ? `${count(changed, "setting")} changed` : "nothing changed"}${later}`;
}

function draw(buttons) {
  if (!allowed()) buttons.replaceChildren();
  else if (!buttons.firstChild) {
    buttons.append(
      action("Reload …", reload),
      action("Collect garbage …", collect),
      action("Stop …", stop, "grave"),
    );
  }
}

function reload() {
  const { config, services } = live.status;
  act(
    {
      title: "Reload the configuration?",
      effect:
        `Reads ${config ?? "the configuration"} again, and calls do_reload of ${count(services, "service")}. ` +
        "If anything in it is wrong, nothing is changed. Nothing is stopped, and no connection is lost.",
      command: command("reload"),
      verb: "Reload",
    },
    "reload",
    () => ({}),
    (report) => {
      const change = (each) => `${each.name}: ${each.old} → ${each.new}`;
      const changed = (report.changed ?? []).map(change);
      const covered = (report.covered ?? []).map((each) => `${change(each)}, when what is set for now is over`);
      return `Reloaded; ${[...changed, ...covered].join("; ") || "nothing has changed"}.`;
    },
  );
}

function collect() {
  act(
    {
      title: "Collect garbage?",
      effect: "Has Python free what only cycles keep alive. The process stands still meanwhile, as a rule for less than a second.",
      verb: "Collect",
    },
    "gc",
    () => ({}),
    (answer) => `${count(answer.collected ?? 0, "object")} collected.`,
  );
}

function stop() {
  const { services, pid } = live.status;
  act(
    {
      title: "Stop the whole instance?",
      effect:
        `Stops all ${count(services, "service")}, and ends process ${pid}. This page ends with it, ` +
        `and cannot start it again: ${command("start")} does, in a shell.`,
      command: command("stop"),
      verb: "Stop everything",
      grave: true,
    },
    "stop",
    () => ({}),
    () => "It is asked to stop.",
  );
}
