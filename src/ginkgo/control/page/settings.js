// Every setting: its value, where that came from, and what it is for.

import { get } from "./api.js";
import { shell } from "./ask.js";
import { h, later, say } from "./dom.js";
import { live } from "./live.js";
import { settingList, settings } from "./parts.js";
import { count } from "./words.js";

export function settingsView() {
  const list = settingList();
  const found = h("p", { class: "hint", role: "status" });
  const text = h("input", { type: "search", "aria-label": "Search the settings", placeholder: "Search" });
  const changed = h("input", { type: "checkbox" });
  let all = null;
  let seen = null;

  function draw() {
    if (all === null) return;
    const wanted = text.value.trim().toLowerCase();
    const shown = all.filter(
      (setting) =>
        (!changed.checked || !isDefault(setting)) &&
        (!wanted || `${setting.name} ${setting.help} ${setting.origin}`.toLowerCase().includes(wanted)),
    );
    say(found, shown.length === all.length ? count(all.length, "setting") : `${shown.length} of ${count(all.length, "setting")}`);
    settings(list, shown, load);
  }

  async function load() {
    try {
      all = (await get("settings")).settings;
    } catch (error) {
      if (all === null) say(found, error.message);
    }
    draw();
  }

  text.addEventListener("input", later(100, draw));
  changed.addEventListener("change", draw);
  return {
    element: h(
      "div",
      {},
      h("h1", { tabindex: "-1" }, "Settings"),
      h("div", { class: "tools" }, text, h("label", { class: "check" }, changed, "Only those that are not at their default")),
      found,
      h("section", { "aria-label": "Settings" }, list),
    ),
    title: "Settings",
    update() {
      shell("settings");
      if (seen !== live.status) load(); // at each look: a reload may have changed them
      seen = live.status;
    },
  };
}

function isDefault(setting) {
  return setting.origin == null || setting.origin === "default";
}
