// What several views show: troubles, facts, events, settings, and the actions on them.

import { act, action, allowed, command } from "./ask.js";
import { h, keyed, say, serviceLink, set, show, symbol } from "./dom.js";
import { live } from "./live.js";
import { clock, count, duration, happened, iso, moment, now } from "./words.js";

export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}

// Name and value pairs; what has no value is left out.
export function facts(list, pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  keyed(
    list,
    known,
    ([name]) => name,
    ([name]) => h("div", {}, h("dt", {}, name), h("dd")),
    (element, [, value]) => say(element.lastElementChild, String(value)),
  );
}

export function troubles(list, items) {
  keyed(
    list,
    items,
    (item) => item.key,
    ({ path }) =>
      h("li", {}, symbol("other"), h("div", {}, path && serviceLink(path), " ", h("span", { class: "why" }))),
    (element, { state, text }) => {
      show(element.firstElementChild, state);
      say(element.querySelector(".why"), text);
    },
  );
}

const EVENT_STATES = {
  failure: "failed",
  "give-up": "failed",
  backoff: "starting",
  restart: "ready",
  asked: "other",
  "lame-duck": "stopping",
  set: "other",
  "log-level": "other",
  "put-back": "other",
};
const OUTCOMES = { refused: "degraded", failed: "failed", busy: "other" };

export function eventList() {
  return h("ol", { class: "events" });
}

// The newest first.
export function events(list, items) {
  keyed(
    list,
    items.toReversed(),
    (event) => `${event.number} ${event.time}`, // numbers begin anew with a process
    (event) =>
      h(
        "li",
        {},
        symbol(OUTCOMES[event.outcome] ?? EVENT_STATES[event.kind] ?? event.state),
        h("time", { datetime: iso(event.time), title: iso(event.time) }, clock(event.time)),
        h("div", {}, serviceLink(event.path), " ", h("span", { class: "text" }, eventText(event))),
      ),
  );
}

function eventText(event) {
  const words = happened(event);
  if (words) return words;
  // The path stands before it already.
  const text = event.text?.replace(`: ${event.path}: `, ": ");
  if (text && event.kind === "backoff") {
    return text.replace(/, seconds (\d[\d.]*)/, (_, seconds) => ` of ${Number(Number(seconds).toPrecision(2))} s`);
  }
  if (text) return text;
  const what = event.kind === "state" ? event.state : event.kind;
  const cause = event.cause?.at(-1);
  return cause ? `${what}: ${cause.path}: ${cause.error}: ${cause.message}` : what;
}

export function settingList() {
  return h("ul", { class: "settings" });
}

export function settings(list, items, after) {
  keyed(
    list,
    items,
    (setting) => setting.name,
    () =>
      h(
        "li",
        {},
        h("div", { class: "head" }, h("code", { class: "title" }), h("span", { class: "marks" })),
        h("div", { class: "value" }, h("code"), h("span", { class: "origin" })),
        h("p", { class: "help" }),
        h("p", { class: "covered" }),
        h("div", { class: "do" }),
      ),
    (element, setting) => {
      const [head, value, help, below, buttons] = element.children;
      say(head.firstElementChild, setting.name);
      marks(head.lastElementChild, setting);
      say(value.firstElementChild, written(setting.value));
      say(value.lastElementChild, origin(setting));
      say(help, [setting.help, setting.problem].filter(Boolean).join(" – "));
      say(below, covered(setting));
      const may = allowed() && !setting.secret && !setting.restart_required;
      if (may && !buttons.firstChild) {
        const change = action("Set for now …", () => change_(element.setting, after));
        set(change, "aria-label", `Set ${setting.name} for now …`);
        buttons.append(change);
      } else if (!may) buttons.replaceChildren();
      element.setting = setting;
    },
  );
}

function origin(setting) {
  const from = place(setting.origin ?? "default");
  const standard = written(setting.default);
  return standard === written(setting.value) || setting.secret ? from : `${from} · default ${standard}`;
}

// What a setting would be if it were not set for now: what a reload has found since, for example.
function covered({ value, until, covered: below }) {
  if (!below || written(below.value) === written(value)) return "";
  const is = written(below.value);
  const what = below.origin === "default" ? `Its default, ${is},` : `${is}, from ${place(below.origin)},`;
  return `${what} is covered by what is set for now, and in effect ${until ? "when that is over" : "after a restart"}.`;
}

// "/srv/shop/shop.conf.py:12" -> "shop.conf.py:12", where that is beside the configuration.
function place(path) {
  const config = live.status?.config ?? "";
  const folder = config.slice(0, config.lastIndexOf("/") + 1);
  return folder.length > 1 && path.startsWith(folder) ? path.slice(folder.length) : path;
}

function written(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function marks(parent, setting) {
  const words = [
    setting.type,
    setting.secret && "secret",
    setting.monitored && "monitored",
    setting.restart_required && "needs a restart",
    setting.until && `until ${clock(setting.until)}, for ${duration(moment(setting.until) - now())} more`,
  ].filter(Boolean);
  keyed(parent, words, (word) => word.split(",")[0], (word) => h("span", { class: word.startsWith("until") ? "mark for-now" : "mark" }), say);
}

const TERMS = [
  ["600", "10 minutes"],
  ["3600", "1 hour"],
  ["28800", "8 hours"],
  ["", "until it is stopped"],
];

export function terms(name) {
  return h(
    "label",
    {},
    "For",
    h("select", { name }, ...TERMS.map(([value, text]) => h("option", { value }, text))),
  );
}

export function seconds(text) {
  return text ? Number(text) : null;
}

function change_(setting, after) {
  act(
    {
      title: `Set ${setting.name}?`,
      effect:
        `It is ${written(setting.value)} now, from ${setting.origin ?? "its default"}. The new value is in ` +
        "effect at once, and goes back when its time is over; the file stays as it is.",
      command: command("set", setting.name, "VALUE", "--for", "10m"),
      verb: "Set",
      fields: [
        h("label", {}, "Value", h("input", { name: "value", value: written(setting.value), autofocus: true })),
        terms("for"),
      ],
    },
    "set",
    (values) => ({ name: setting.name, value: values.value, for: seconds(values.for) }),
    () => `${setting.name} is set.`,
  ).then(after);
}

// How many services there are below the one at `path`.
function below(path) {
  let number = 0;
  for (const each of live.paths.keys()) if (each.startsWith(`${path}/`)) number += 1;
  return number;
}

function withBelow(path) {
  const number = below(path);
  return number ? `${path} and ${count(number, "service")} below it` : path;
}

export function restartService(path) {
  return act(
    {
      title: `Restart ${path}?`,
      effect:
        `Stops ${withBelow(path)}, and starts them again. What they do now is given its stop_timeout ` +
        "to end; the services beside it go on.",
      command: command("restart", path),
      verb: "Restart",
      grave: true,
    },
    "restart",
    () => ({ path }),
    () => `${path} is restarted.`,
  );
}

export function stopService(path) {
  return act(
    {
      title: `Stop ${path}?`,
      effect:
        `Stops ${withBelow(path)}. What they do now is given its stop_timeout to end. ` +
        "It stays stopped until it is restarted; the services beside it go on.",
      command: command("stop", path),
      verb: "Stop",
      grave: true,
    },
    "stop",
    () => ({ path }),
    () => `${path} is asked to stop.`,
  );
}

export function reloadService(path) {
  return act(
    {
      title: `Reload ${path}?`,
      effect: `Calls do_reload of ${withBelow(path)}. Nothing is stopped, and no connection is lost.`,
      command: command("reload", path),
      verb: "Reload",
    },
    "reload",
    () => ({ path }),
    () => `${path} is reloaded.`,
  );
}
