// How things are said: times, sizes, states.

let skew = 0; // milliseconds that the instance's clock is ahead of this one

// Learn the instance's clock from its status, so that "for 3 s" is right whatever this clock says.
export function learnClock(status) {
  const began = Date.parse(status?.started_at ?? "");
  if (Number.isFinite(began) && Number.isFinite(status.uptime)) {
    skew = began + status.uptime * 1000 - Date.now();
  }
}

export function now() {
  return (Date.now() + skew) / 1000;
}

// Seconds since the epoch, of a number or of RFC 3339; NaN if it is neither.
export function moment(value) {
  return typeof value === "number" ? value : Date.parse(value ?? "") / 1000;
}

// 75 -> "1 min 15 s": the greatest units.
export function duration(seconds, units = 2) {
  if (!Number.isFinite(seconds)) return "–";
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count || (name === "s" && !parts.length)) parts.push(`${count} ${name}`);
    else if (parts.length) break;
    if (parts.length === units) break;
  }
  return parts.join(" ");
}

export function ago(value) {
  const seconds = now() - moment(value);
  return seconds < 1 ? "now" : `${duration(seconds)} ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const CALENDAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// The local time of day, with the date where it is not today's.
export function clock(value) {
  const seconds = moment(value);
  if (!Number.isFinite(seconds)) return "";
  const then = new Date(seconds * 1000);
  const day = CALENDAR.format(then);
  const today = CALENDAR.format(new Date(now() * 1000));
  return day === today ? CLOCK.format(then) : `${day} ${CLOCK.format(then)}`;
}

export function iso(value) {
  const seconds = moment(value);
  return Number.isFinite(seconds) ? new Date(seconds * 1000).toISOString() : null;
}

export function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  for (const [size, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (count >= size) return `${short(count / size)} ${name}`;
  }
  return `${count} B`;
}

export function percent(value) {
  return Number.isFinite(value) ? `${short(value)} %` : "–";
}

export function rate(value) {
  return Number.isFinite(value) ? `${short(value)}/s` : "–";
}

export function lag(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  return seconds < 1 ? `${short(seconds * 1000)} ms` : `${short(seconds)} s`;
}

function short(value) {
  if (value !== 0 && value < 0.1) return "< 0.1";
  return value < 10 ? String(Math.round(value * 10) / 10) : Math.round(value).toLocaleString("en");
}

export function count(number, one, many = `${one}s`) {
  return `${Number(number).toLocaleString("en")} ${number === 1 ? one : many}`;
}

// "since 12:03:11, for 4 min 2 s"; nothing where it is not known.
export function since(value) {
  const seconds = moment(value);
  return Number.isFinite(seconds) ? `since ${clock(value)}, for ${duration(now() - seconds)}` : "";
}

// Kinds of events as people call them; an application's own are named as they are.
export const KINDS = {
  state: "State",
  failure: "Failure",
  backoff: "Wait for a restart",
  restart: "Restart",
  "give-up": "Give-up",
  reload: "Reload",
  asked: "Asked for",
  "lame-duck": "Lame duck",
  set: "Setting",
  "log-level": "Log level",
  "put-back": "Put back",
};

// What an event tells, where its data say more than its text.
export function happened(event) {
  const { kind, name, old, value, until, what, seconds, by, outcome, refused } = event;
  const subject = (one) => (one === "log-level" ? `the level of ${name}` : `the setting ${name}`);
  const who = by ? `; by ${by}` : "";
  if ((kind === "set" || kind === "log-level") && name) {
    if (outcome === "refused") return `${subject(kind)} was not changed: ${(refused ?? []).join("; ")}${who}`;
    const end = until ? ` until ${clock(until)}` : "";
    return `${subject(kind)} is ${value}${end}, it was ${old}${who}`;
  }
  if (kind === "put-back" && name) return `${subject(what)} is ${value} again: the time of ${old} is over`;
  if (kind === "lame-duck" && by) return `lame duck: it stops in ${duration(seconds)}, and serves until then${who}`;
  return "";
}

// Why a service is as it is, without its path, which stands before it already.
export function reason({ why, path }) {
  return why?.startsWith(`${path}: `) ? why.slice(path.length + 2) : (why ?? "");
}

// The instance in a sentence, and what colour and symbol it has.
export function overall(status) {
  const all = status.services ?? 0;
  const failed = status.failed?.length ?? 0;
  const pending = status.not_ready?.length ?? 0;
  const up = duration(status.uptime);
  const of = failed === all && all === 1 ? "its one service" : `${failed} of ${count(all, "service")}`;
  const wrong = failed ? `${of} ${failed === 1 ? "has" : "have"} failed` : "";
  if (status.stopping === "lame duck") {
    return ["stopping", "About to stop: it serves who is there, and is to get no new work."];
  }
  switch (status.state) {
    case "ready":
      if (failed) return ["degraded", `Up for ${up}, but ${wrong}.`];
      if (pending) return ["ready", `Up for ${up}; ${count(pending, "service is", "services are")} not ready yet.`];
      return ["ready", all === 1 ? `Ready: up for ${up}.` : `All ${all} services are ready, up for ${up}.`];
    case "starting":
      return ["starting", `Starting for ${up}: ${count(pending, "service is", "services are")} not ready yet.`];
    case "stopping":
      return ["stopping", "Stopping."];
    case "stopped":
      return ["stopped", "Stopped."];
    case "degraded":
      return ["degraded", wrong ? `Degraded: ${wrong}.` : "Degraded: it works, but not as it should."];
    case "failed":
      return ["failed", wrong ? `Failed: ${wrong}.` : "Failed."];
    default:
      return ["other", `Its state is ${status.state}.`];
  }
}
