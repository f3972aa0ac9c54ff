// The log as it is written: the last lines, then each new one; filtered where it is kept.

import { get, listen } from "./api.js";
import { act, action, allowed, command, shell, told } from "./ask.js";
import { h, later, say } from "./dom.js";
import { live } from "./live.js";
import { seconds, terms } from "./parts.js";
import { count, iso } from "./words.js";

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
  let coming = [];
  let flush = 0;
  let held = null; // lines that came while paused
  let round = 0;
  let gone = false;

  function filter() {
    return { service: service.value.trim(), level: level.value, grep: grep.value };
  }

  // The last lines come first, then each new one.
  function begin() {
    const mine = ++round;
    let open = false;
    stop();
    close = listen("log", { ...filter(), lines: FIRST }, "line", {
      opened() {
        if (mine !== round) return;
        open = true;
        box.replaceChildren();
        say(note, "No line matches yet.");
      },
      told(line) {
        if (mine !== round) return;
        coming.push(line);
        flush ||= setTimeout(show, 30);
      },
      lost() {
        if (mine !== round || gone) return;
        close = null;
        if (!open) explain(mine);
        again = setTimeout(begin, 2000);
      },
    });
  }

  // A stream cannot say why it is refused; the same question without a stream can.
  async function explain(mine) {
    try {
      await get("log", { ...filter(), lines: 1 });
    } catch (error) {
      if (mine === round) say(note, told(error));
    }
  }

  // Many lines come together: they are laid out once.
  function show() {
    flush = 0;
    add(coming.splice(0));
  }

  function stop() {
    clearTimeout(again);
    clearTimeout(flush);
    flush = 0;
    coming = [];
    close?.();
    close = null;
  }

  function add(lines) {
    if (held) {
      held = [...held, ...lines].slice(-KEPT);
      say(note, `Paused; ${count(held.length, "line")} more`);
      return;
    }
    const follow = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.append(...lines.map(drawn));
    while (box.children.length > KEPT) box.firstElementChild.remove();
    if (follow) box.scrollTop = box.scrollHeight;
    if (lines.length) say(note, live.status?.logfile ? `From ${live.status.logfile}` : "Kept in memory: there is no logfile");
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
  const seen = () => (document.hidden ? stop() : begin());
  document.addEventListener("visibilitychange", seen);
  begin();

  return {
    element: h("div", { class: "logs" }, h("h1", { tabindex: "-1" }, "Logs"), tools, note, box),
    title: "Logs",
    update() {
      shell("logs", "-f", ...Object.entries(filter()).flatMap(([name, value]) => (value ? [`--${name}`, value] : [])));
      if (paths.children.length !== live.paths.size) {
        paths.replaceChildren(...[...live.paths.keys()].map((path) => h("option", { value: path })));
      }
      if (allowed() && !tools.querySelector(".act")) tools.append(action("Level of a logger …", setLevel));
    },
    leave() {
      gone = true;
      document.removeEventListener("visibilitychange", seen);
      stop();
    },
  };
}

// The line as it was written, with its level told by colour as well.
function drawn({ text, level, time, service }) {
  const known = LEVELS.includes(level) ? level : "";
  const at = known ? text.indexOf(known) : -1;
  return h(
    "p",
    { class: known && `level-${known.toLowerCase()}`, title: [iso(time), service].filter(Boolean).join(" ") || null },
    at < 0 ? text : [text.slice(0, at), h("span", { class: "level" }, known), text.slice(at + known.length)],
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
