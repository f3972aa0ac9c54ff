// Everything that has happened, as far as it is kept, live.

import { shell } from "./ask.js";
import { h, later, say } from "./dom.js";
import { live } from "./live.js";
import { eventList, events } from "./parts.js";
import { count, KINDS } from "./words.js";

export function eventsView(_path, query) {
  const list = eventList();
  const found = h("p", { class: "hint", role: "status" });
  const text = h("input", { type: "search", "aria-label": "Search the events", placeholder: "Search", value: query.get("q") ?? "" });
  const kind = h("select", { "aria-label": "Kind of event" }, h("option", { value: "" }, "Every kind"));
  let kinds = "";
  const view = {
    element: h("div", {}, h("h1", { tabindex: "-1" }, "Events"), h("div", { class: "tools" }, text, kind), found, h("section", { "aria-label": "Events" }, list)),
    title: "Events",
    update() {
      shell("events", "-f");
      const there = [...new Set(live.events.map((event) => event.kind))].sort();
      if (kinds !== there.join()) {
        kinds = there.join();
        const chosen = kind.value;
        kind.replaceChildren(
          h("option", { value: "" }, "Every kind"),
          ...there.map((name) => h("option", { value: name, selected: name === chosen }, KINDS[name] ?? name)),
        );
      }
      const wanted = text.value.trim().toLowerCase();
      const shown = live.events.filter(
        (event) =>
          (!kind.value || event.kind === kind.value) &&
          (!wanted || `${event.path} ${event.text} ${event.kind} ${KINDS[event.kind] ?? ""}`.toLowerCase().includes(wanted)),
      );
      say(found, shown.length === live.events.length ? count(shown.length, "event") : `${shown.length} of ${count(live.events.length, "event")}`);
      events(list, shown);
    },
  };
  text.addEventListener("input", later(100, view.update));
  kind.addEventListener("change", view.update);
  return view;
}
