// What the page knows of the instance, kept fresh: the status every few seconds, the tree and the
// events as things happen. When the connection is lost it says since when, and tries until it is back.

import { Refused, get, listen } from "./api.js";
import { learnClock, moment, now } from "./words.js";

const EVERY = 5000; // milliseconds between looks at the status
const AGAIN = 2000; // and between attempts while the connection is lost
const TREE_EVERY = 30_000; // without an event: for the numbers of tasks
const SMALL = 100; // services: a tree that costs little is asked for with each status
const EVENTS = 500;
const WINDOW = 900; // seconds of samples

export const live = {
  connection: "connecting", // then: live, lost, login
  freshAt: 0, // when the last answer came, in milliseconds of this machine's clock
  status: null,
  tree: null,
  events: [], // the newest last
  samples: [],
  every: 5, // seconds between samples
  paths: new Map(), // each service of the tree by its path
};

const watchers = new Set();
let timer = 0;
let running = null;
let wanted = false;
let treeAt = 0;
let closeStream = null;
let identity = "";
let hurriedAt = 0;

// Have `f()` called after every change; returns what ends that.
export function watch(f) {
  watchers.add(f);
  return () => watchers.delete(f);
}

function changed() {
  for (const f of [...watchers]) f();
}

export function begin() {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : refresh()));
  addEventListener("online", () => refresh());
  refresh();
}

// Look again now: after an action, or when an event says that something has changed.
export function refresh() {
  wanted = true;
  running ??= look().finally(() => (running = null));
  return running;
}

// A page that nobody looks at asks for nothing, and holds no connection.
function pause() {
  clearTimeout(timer);
  closeStream?.();
  closeStream = null;
}

async function look() {
  while (wanted) {
    wanted = false;
    clearTimeout(timer);
    try {
      await fetchAll();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) live.connection = "login";
      else live.connection = "lost";
      pause();
    }
    changed();
  }
  if (document.hidden || live.connection === "login") return;
  timer = setTimeout(refresh, live.connection === "live" ? EVERY : AGAIN);
}

async function fetchAll() {
  const back = live.connection !== "live" || !closeStream;
  const status = await get("status");
  learnClock(status);
  const who = `${status.pid} ${status.started_at}`;
  const another = who !== identity;
  identity = who;
  live.status = status;
  if (another || back || (status.services ?? 0) <= SMALL || treeStale()) await fetchTree();
  if (another || back) await fetchPast();
  else addSample(status);
  live.connection = "live";
  live.freshAt = Date.now();
  if (!closeStream && !document.hidden) follow();
}

function treeStale() {
  return Date.now() - treeAt > TREE_EVERY;
}

async function fetchTree() {
  live.tree = await get("tree");
  treeAt = Date.now();
  live.paths.clear();
  const add = (node) => {
    live.paths.set(node.path, node);
    (node.children ?? []).forEach(add);
  };
  add(live.tree);
}

async function fetchPast() {
  const [past, samples] = await Promise.all([get("events", { limit: 200 }), get("samples")]);
  live.events = past.events ?? [];
  live.samples = samples.samples ?? [];
  live.every = samples.every ?? 5;
}

function addSample(status) {
  const last = live.samples.at(-1);
  const time = now();
  if (last && time - moment(last.time) < live.every - 1) return;
  live.samples.push({ ...status, time });
  while (live.samples.length && moment(live.samples[0].time) < time - WINDOW) live.samples.shift();
}

function follow() {
  const after = live.events.at(-1)?.number ?? 0;
  closeStream = listen("events", { after }, "event", {
    told(event) {
      if (event.number <= (live.events.at(-1)?.number ?? 0)) return;
      live.events.push(event);
      if (live.events.length > EVENTS) live.events.shift();
      treeAt = 0; // whatever happened is to be seen in the tree
      soon();
    },
    lost() {
      closeStream = null;
      // A look tells at once whether the instance is there; one that only refuses streams is let be.
      if (Date.now() - hurriedAt < AGAIN) return;
      hurriedAt = Date.now();
      refresh();
    },
  });
}

let due = 0;

// Many events come together: one look is enough for them, and a large tree is not looked at often.
function soon() {
  if (due) return;
  due = setTimeout(
    () => {
      due = 0;
      refresh();
    },
    live.paths.size > SMALL ? 1000 : 150,
  );
}
