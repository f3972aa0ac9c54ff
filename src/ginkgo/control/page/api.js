// The one API, as the page asks it. The same routes serve ginkgoctl and curl.

const ROOT = "api/v1/";
const PATIENCE = 8000; // milliseconds until an answer is given up

// An answer that is not what was asked for: what happened, why, and what to do, as the API says it.
export class Refused extends Error {
  constructor(status, error) {
    super(error?.what ?? `The answer was ${status}`);
    this.status = status;
    this.why = error?.why ?? "";
    this.do = error?.do ?? "";
  }
}

export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(given).toString();
  return ROOT + path.split("/").map(encodeURIComponent).join("/") + (text && `?${text}`);
}

export function get(path, query) {
  return ask(address(path, query), {}, PATIENCE);
}

// Actions take as long as what they ask for: a restart waits for its service.
export function post(path, body = {}) {
  return ask(address(path), json(body), 120_000);
}

// Trade the token for a cookie that scripts cannot read; the token itself is kept nowhere.
export async function login(token) {
  await ask("login", json({ token }), PATIENCE);
}

function json(body) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
}

async function ask(url, options, patience) {
  const answer = await fetch(url, {
    ...options,
    cache: "no-store",
    signal: AbortSignal.timeout(patience),
  });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, content?.error);
  return content;
}

// Listen to a stream until it breaks or is closed; whoever listens decides whether to come again.
export function listen(path, query, event, { opened, told, lost }) {
  const source = new EventSource(address(path, { ...query, stream: 1 }));
  source.addEventListener("open", () => opened?.());
  source.addEventListener(event, (message) => told(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    source.close();
    lost?.();
  });
  return () => source.close();
}
