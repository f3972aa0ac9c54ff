// Elements from data. What the API tells becomes text, never markup: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

// h("p", {class: "why"}, "text", h("b", {}, "more")); `on` holds listeners; null and false are left out.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  element.append(...children.flat(2).filter((child) => child != null && child !== false));
  return element;
}

// Set one attribute, or remove it, where that changes anything.
export function set(element, name, value) {
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  } else if (value == null || value === false) {
    element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Make the children of `parent` those of `items`, and keep the elements of those that stay: focus,
// selection and the scrolled place survive. `create(item)` makes one, `update(element, item)` tells it.
export function keyed(parent, items, key, create, update = () => {}) {
  const there = new Map();
  for (const child of parent.children) there.set(child.dataset.key, child);
  const wanted = new Set(items.map((item) => String(key(item))));
  for (const [name, child] of there) if (!wanted.has(name)) child.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = there.get(name);
    if (!element) {
      element = create(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

const SHAPES = {
  ready: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM5 8.2l2.2 2.2L11.2 6",
  degraded: "M8 1.8 15 14.2H1zM8 6v4M8 12v.1",
  failed: "M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5zM5.5 5.5l5 5M10.5 5.5l-5 5",
  starting: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM8 11V5M5.5 7.5 8 5l2.5 2.5",
  stopping: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM8 5v6M5.5 8.5 8 11l2.5-2.5",
  stopped: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM6 6h4v4H6z",
  other: "M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z",
};

// A state's symbol. The shape tells it as well as the colour does; words always stand beside it.
export function symbol(state) {
  const path = svg("path", {});
  const element = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
  show(element, state);
  return element;
}

export function show(element, state) {
  const shape = Object.hasOwn(SHAPES, state) ? state : "other";
  set(element, "class", `symbol is-${shape}`);
  set(element.firstElementChild, "d", SHAPES[shape]);
}

// A link to a service's own view.
export function serviceLink(path, text = path) {
  return h("a", { href: serviceHref(path) }, text);
}

export function serviceHref(path) {
  return "#/service/" + String(path).split("/").map(encodeURIComponent).join("/");
}

export function later(milliseconds, f) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), milliseconds);
  };
}
