// The tree of services, as WAI-ARIA's tree pattern wants it: one stop for the tab key, arrows within.
// Rows are flat and keyed by path, so that what is focused and opened stays while states change.

import { h, keyed, say, serviceHref, set, show, symbol } from "./dom.js";
import { count, duration, iso, moment, now, reason } from "./words.js";

const SMALL = 40; // services: a tree of no more is open from the start

export class Tree {
  constructor() {
    this.root = null;
    this.open = new Map(); // path -> whether the reader has opened or closed it
    this.query = "";
    this.focused = "";
    this.rows = [];
    this.size = 0;
    this.search = h("input", {
      type: "search",
      placeholder: "Search the services",
      "aria-label": "Search the services",
      autocomplete: "off",
      spellcheck: "false",
      on: { input: () => this.find(this.search.value) },
    });
    this.found = h("p", { class: "hint", role: "status" });
    this.list = h("div", {
      role: "tree",
      "aria-label": "Services",
      class: "tree",
      on: { keydown: (event) => this.key(event), click: (event) => this.click(event) },
    });
    this.list.addEventListener("focusin", (event) => {
      const row = event.target.closest("[role=treeitem]");
      if (row) this.mark(row.dataset.key);
    });
    this.element = h("div", {}, h("div", { class: "tools" }, this.search), this.found, this.list);
  }

  update(root) {
    this.root = root;
    this.draw();
  }

  find(text) {
    this.query = text.trim().toLowerCase();
    this.draw();
  }

  draw() {
    this.rows = [];
    this.size = 0;
    if (this.root) {
      measure(this.root, this);
      this.collect(this.root, 1, 1, 1);
    }
    if (!this.rows.some((row) => row.node.path === this.focused)) {
      this.focused = this.rows[0]?.node.path ?? "";
    }
    keyed(this.list, this.rows, (row) => row.node.path, create, (element, row) => {
      paint(element, row);
      set(element, "tabindex", row.node.path === this.focused ? 0 : -1);
    });
    const hits = this.rows.filter((row) => row.hit).length;
    say(this.found, this.query ? `${count(hits, "service")} of ${this.size} found` : "");
  }

  // Whether the row's children are shown, and the rows of them. While something is searched for,
  // what was found is shown with what is above it.
  collect(node, level, place, siblings) {
    const children = node.children ?? [];
    const hit = Boolean(this.query) && node.path.toLowerCase().includes(this.query);
    const row = { node, level, place, siblings, hit, parent: children.length > 0, open: false };
    const at = this.rows.push(row) - 1;
    row.open = row.parent && (this.query ? true : this.isOpen(node, level));
    if (row.open) {
      children.forEach((child, index) => {
        this.collect(child, level + 1, index + 1, children.length);
      });
    }
    if (this.query && !hit && this.rows.length === at + 1) this.rows.pop();
  }

  isOpen(node, level) {
    const chosen = this.open.get(node.path);
    if (chosen !== undefined) return chosen;
    return this.size <= SMALL || level === 1 || node.ailing > 0;
  }

  toggle(path, open) {
    this.open.set(path, open);
    this.draw();
  }

  mark(path) {
    if (path === this.focused) return;
    this.focused = path;
    for (const row of this.list.children) set(row, "tabindex", row.dataset.key === path ? 0 : -1);
  }

  focus(row) {
    if (!row) return;
    this.mark(row.node.path);
    const element = [...this.list.children].find((each) => each.dataset.key === row.node.path);
    element?.focus();
  }

  click(event) {
    const element = event.target.closest("[role=treeitem]");
    if (!element) return;
    if (event.target.closest(".twist")) {
      const row = this.rows.find((each) => each.node.path === element.dataset.key);
      if (row?.parent) this.toggle(row.node.path, !row.open);
      this.focus(row);
    } else {
      location.hash = serviceHref(element.dataset.key);
    }
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.rows.findIndex((row) => row.node.path === this.focused);
    const row = this.rows[at];
    if (!row) return;
    const { path } = row.node;
    switch (event.key) {
      case "ArrowDown":
        this.focus(this.rows[at + 1]);
        break;
      case "ArrowUp":
        this.focus(this.rows[at - 1]);
        break;
      case "Home":
        this.focus(this.rows[0]);
        break;
      case "End":
        this.focus(this.rows.at(-1));
        break;
      case "ArrowRight":
        if (row.parent && !row.open) this.toggle(path, true);
        else if (row.open) this.focus(this.rows[at + 1]);
        break;
      case "ArrowLeft":
        if (row.open && !this.query) this.toggle(path, false);
        else this.focus(this.rows.slice(0, at).findLast((each) => each.level < row.level));
        break;
      case "*":
        for (const each of this.rows) {
          if (each.level === row.level && each.parent) this.open.set(each.node.path, true);
        }
        this.draw();
        break;
      case "Enter":
      case " ":
        location.hash = serviceHref(path);
        break;
      default:
        if (event.key.length !== 1 || !/\S/.test(event.key)) return;
        this.jump(event.key.toLowerCase(), at);
    }
    event.preventDefault();
  }

  // To the next service whose title begins with that letter.
  jump(letter, at) {
    const order = [...this.rows.slice(at + 1), ...this.rows.slice(0, at + 1)];
    this.focus(order.find((row) => titleOf(row.node).toLowerCase().startsWith(letter)));
  }
}

// How many services there are, and how many below each node are not as they should be.
function measure(node, sum) {
  sum.size += 1;
  node.ailing = 0;
  for (const child of node.children ?? []) {
    node.ailing += measure(child, sum) + (child.ailing ?? 0);
  }
  return node.why || ["failed", "degraded"].includes(node.state) ? 1 : 0;
}

// The end of the path: siblings of one name differ in it.
function titleOf(node) {
  return node.path.split("/").at(-1);
}

function create() {
  return h(
    "div",
    { role: "treeitem" },
    h("span", { class: "twist", "aria-hidden": "true" }),
    symbol("other"),
    h("span", { class: "title" }),
    h("span", { class: "state" }),
    h("span", { class: "more" }),
    h("span", { class: "why" }),
  );
}

function paint(element, { node, level, place, siblings, parent, open, hit }) {
  const [, mark, title, state, more, why] = element.children;
  set(element, "aria-level", level);
  set(element, "aria-posinset", place);
  set(element, "aria-setsize", siblings);
  set(element, "aria-expanded", parent ? String(open) : null);
  set(element, "class", `row level-${Math.min(level, 8)}${hit ? " hit" : ""}`);
  show(mark, node.state);
  say(title, titleOf(node));
  say(state, node.state);
  set(state, "class", `state is-${node.state}`);
  const facts = [];
  if (parent && !open && node.ailing) facts.push(`${node.ailing} below not well`);
  if (node.restarts) facts.push(count(node.restarts, "restart"));
  if (node.tasks) facts.push(count(node.tasks, "task"));
  if (node.since) facts.push(duration(now() - moment(node.since), 1));
  say(more, facts.join(" · "));
  set(more, "title", node.since ? `${node.state} since ${iso(node.since)}` : null);
  say(why, reason(node));
}
