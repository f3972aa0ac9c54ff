// The log as it is written: the last lines, then each new one; filtered where it is kept.

import { get, listen } from "./api.js";
import { act, action, allowed, command, shell } from "./ask.js";
import { h, later, say } from "./dom.js";
import { live } from "./live.js";
import { seconds, terms } from "./parts.js";
import { clock, count, iso } from "./words.js";

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
const FIRST = 200; // lines to begin with
const KEPT = 2000; // and to keep

export function logsView(_path, query) {
  const level = h(
    "select",
    { "aria-label": "Least level" },
    h("option", { value: "" }, "Every level"),
    ...LEVELS.map((name) => h("option", { value: name, selected: name === query.get("level") }, `${name} and above`.replace("CRITICAL and above", "CRITICAL"))),
  );
  const service = h("input", { type: "search", "aria-label": "Service", placeholder: "Service", list: "paths", value: query.get("service") ?? "" });
  const grep = h("input", { type: "search", "aria-label": "Text to search for", placeholder: "Search the text", value: query.get("grep") ?? "" });
  const paths = h("datalist", { id: "paths" });
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const box = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: "0" });
  const note = h("p", { class: "hint", role: "status" });
  const tools = h("div", { class: "tools" }, service, grep, level, pause, paths);
  let close = null;
  let again = 0;
  let held = null; // lines that came while paused
  let round = 0;
  let gone = false;
  let source = "";

  function filter() {
    return { service: service.value.trim(), level: level.value, grep: grep.value };
  }

  function begin() {
    const mine = ++round;
    stop();
    let early = []; // lines that come while the last ones are asked for
    close = listen("log", { ...filter(), lines: 0 }, "line", {
      async opened() {
        await first(early, () => mine === round);
        early = null;
      },
      told(line) {
        if (mine !== round) return;
        if (early) early.push(line);
        else add([line]);
      },
      lost() {
        if (mine !== round || gone) return;
        close = null;
        again = setTimeout(begin, 2000);
      },
    });
  }

  // Asked for when the stream is open, so that no line is written between the two.
  async function first(early, wanted) {
    try {
      const past = await get("log", { ...filter(), lines: FIRST });
      if (!wanted()) return;
      box.replaceChildren();
      add([...past.lines, ...fresh(past.lines, early)]);
      source = past.logfile ? `From ${past.logfile}` : "Kept in memory: there is no logfile";
      say(note, box.firstChild ? source : "No line matches yet.");
    } catch (error) {
      if (wanted()) say(note, [error.message, error.why].filter(Boolean).join(": "));
    }
  }

  function stop() {
    clearTimeout(again);
    close?.();
    close = null;
  }

  function add(lines) {
    if (held) {
      held.push(...lines);
      if (held.length > KEPT) held.shift();
      say(note, `Paused; ${count(held.length, "line")} more`);
      return;
    }
    const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.append(...lines.map(drawn));
    while (box.children.length > KEPT) box.firstElementChild.remove();
    if (follow) box.scrollTop = box.scrollHeight;
    if (lines.length) say(note, source);
  }

  pause.addEventListener("click", () => {
    const lines = held;
    held = lines ? null : [];
    pause.setAttribute("aria-pressed", String(!lines));
    say(pause, lines ? "Pause" : "Go on");
    say(note, lines ? "" : "Paused");
    if (lines) add(lines);
  });
  const restart = later(250, () => {
    const text = new URLSearchParams(Object.entries(filter()).filter(([, value]) => value)).toString();
    history.replaceState(null, "", `#/logs${text && `?${text}`}`);
    begin();
  });
  for (const field of [service, grep, level]) field.addEventListener("input", restart);
  begin();

  return {
    element: h("div", { class: "logs" }, h("h1", { tabindex: "-1" }, "Logs"), tools, note, box),
    title: "Logs",
    update() {
      shell("logs", "-f");
      if (paths.children.length !== live.paths.size) {
        paths.replaceChildren(...[...live.paths.keys()].map((path) => h("option", { value: path })));
      }
      if (allowed() && !tools.querySelector(".act")) tools.append(action("Level of a logger …", setLevel));
    },
    leave() {
      gone = true;
      stop();
    },
  };
}

// Those of `early` that are not already the last ones of `past`.
function fresh(past, early) {
  const same = (a, b) => a.text === b.text && a.time === b.time;
  for (let size = Math.min(early.length, past.length); size > 0; size -= 1) {
    const tail = past.slice(-size);
    if (tail.every((line, index) => same(line, early[index]))) return early.slice(size);
  }
  return early;
}

function drawn(line) {
  const level = LEVELS.includes(line.level) ? line.level : "";
  return h(
    "p",
    { class: level && `level-${level.toLowerCase()}` },
    line.time != null && h("time", { datetime: iso(line.time) }, clock(line.time), " "),
    level && h("span", { class: "level" }, level, " "),
    line.service && h("span", { class: "service" }, line.service, " "),
    h("span", { class: "text" }, line.text),
  );
}

function setLevel() {
  act(
    {
      title: "Set the level of a logger?",
      effect: "From now on it writes what has this level or a higher one. When the time is over it goes back to what it was.",
      command: command("log-level", "LOGGER", "DEBUG", "--for", "10m"),
      verb: "Set",
      fields: [
        h("label", {}, "Logger", h("input", { name: "logger", placeholder: "root, or a module such as app.db", autofocus: true })),
        h("label", {}, "Level", h("select", { name: "level" }, ...LEVELS.map((name) => h("option", {}, name)))),
        terms("for"),
      ],
    },
    "log-level",
    (values) => ({ logger: values.logger, level: values.level, for: seconds(values.for) }),
    () => "The level is set.",
  );
}
