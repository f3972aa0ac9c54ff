// Actions: asked back with what will happen, done, and what came of it said.

import { post } from "./api.js";
import { h, say } from "./dom.js";
import { live, refresh } from "./live.js";

// Ask whether to do something. Resolves to the form's values, or to null.
//   title, effect: what is asked, and what will happen
//   command: the same in a shell
//   verb: what the button says; grave: whether something ends by it
//   fields: what is asked for besides
// `send(values)` is tried before it closes: what was typed stays there until it is taken.
export function ask({ title, effect, command, verb, grave = false, fields = [] }, send = null) {
  const dialog = document.getElementById("ask");
  const before = document.activeElement;
  const wrong = h("p", { class: "wrong", role: "alert" });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "ask-title" }, title),
    h("p", { id: "ask-effect" }, effect),
    fields,
    wrong,
    command && h("p", { class: "hint" }, "In a shell: ", h("code", {}, command)),
    h(
      "div",
      { class: "buttons" },
      h("button", { value: "no", formnovalidate: true, autofocus: !fields.length }, "Cancel"),
      h("button", { value: "yes", class: grave ? "grave" : "main" }, verb),
    ),
  );
  // Enter in a field means the action, and not the first button, which cancels.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("[value=yes]"));
  });
  if (send) form.addEventListener("submit", (event) => attempt(event, form, wrong, send));
  dialog.replaceChildren(form);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
        if (before?.isConnected) before.focus();
      },
      { once: true },
    );
  });
}

async function attempt(event, form, wrong, send) {
  if (event.submitter?.value !== "yes") return;
  event.preventDefault();
  const yes = event.submitter;
  yes.disabled = true;
  say(wrong, "");
  try {
    await send(Object.fromEntries(new FormData(form)));
    if (form.isConnected) form.closest("dialog").close("yes");
  } catch (error) {
    if (!form.isConnected || !form.closest("dialog").open) tell("failed", told(error));
    say(wrong, told(error));
    yes.disabled = false;
    form.querySelector("input, select")?.focus();
  }
}

// Ask, do, and say what came of it. `body(values)` is what is sent, `done(answer)` what is said.
export async function act(question, path, body, done) {
  const send = async (values) => tell("ready", done(await post(path, body(values))));
  if (question.fields) {
    if ((await ask(question, send)) === null) return;
  } else {
    const values = await ask(question);
    if (values === null) return;
    tell("working", `${question.title.replace(/\?$/, "")} …`);
    try {
      await send(values);
    } catch (error) {
      tell("failed", told(error));
    }
  }
  refresh();
}

// An error in words: what happened, why, and what to do, with the commands for this instance.
export function told(error) {
  const why = error.why ?? "the connection broke, or no answer came in time";
  const advice = (error.do ?? "").replaceAll("ginkgoctl TARGET", command());
  return sentences(`${error.message}${why && `: ${why}`}`, advice);
}

function sentences(...texts) {
  return texts.filter(Boolean).map((text) => text.replace(/[^.!?]$/, "$&.")).join(" ");
}

let quiet = 0;

// Say something at the foot of the page, and to screen readers.
export function tell(kind, text) {
  const says = document.getElementById("says");
  const close = h(
    "button",
    { class: "close", "aria-label": "Dismiss", on: { click: () => says.replaceChildren() } },
    "×",
  );
  says.replaceChildren(h("p", { class: `is-${kind}` }, h("span", {}, text), close));
  clearTimeout(quiet);
  if (kind === "ready") quiet = setTimeout(() => says.replaceChildren(), 12_000);
}

// A button for an action, there only where actions are allowed.
export function action(text, f, kind = "") {
  return h("button", { type: "button", class: `act ${kind}`, on: { click: f } }, text);
}

export function allowed() {
  return live.status?.actions === true;
}

export function command(...words) {
  const target = live.status?.target ?? "TARGET";
  return ["ginkgoctl", target, ...words].map(quote).join(" ");
}

function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

// At the foot of each view: how the same is seen in a shell.
export function shell(...words) {
  const line = document.getElementById("shell");
  line.hidden = false;
  say(document.getElementById("command"), command(...words));
}
