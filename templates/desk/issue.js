// The room of an issue without waiting for whole pages: each form is sent at once, and the parts of the page that
// the answer has otherwise take the old ones' places. Without this script the same forms and links do the same.
"use strict";

const PARTS = ["standing", "told", "findings", "words", "items-heading", "items", "out", "history", "letter"];
const main = document.getElementById("main");
let sending = Promise.resolve();
// How many changes wait for the one before them: an answer knows nothing of what they hold.
let waiting = 0;
let turn = 0;
let dragged = null;
// From a version of the issue to the one that our own change made of it, and nobody else's.
const ours = new Map();

const typing = (element) => element && element.matches("textarea, input:not([type=checkbox])");

// The part of a page with that id, for a heading with all of its line; null: it has none.
function part(id, page) {
  const found = page.getElementById(id);
  return found && id === "items-heading" ? found.closest(".heading") : found;
}

// The page shows what the answer shows, but for a part in which somebody is writing, or has written what waits.
function show(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  if (!page.getElementById("letter")) {
    main.replaceChildren(...page.getElementById("main").childNodes);
    main.className = page.getElementById("main").className;
    document.title = page.title;
    main.querySelector("h1").tabIndex = -1;
    main.querySelector("h1").focus();
    window.scrollTo(0, 0);
    return;
  }
  const told = page.getElementById("told");
  if (told.dataset.since) ours.set(told.dataset.since, told.dataset.version);
  const active = document.activeElement;
  const at = active && (active.id || (active.closest("[id]") || {}).id);
  const open = [...document.querySelectorAll("#items details[open]")].map((one) => one.closest("li").id);
  for (const id of PARTS) {
    const old = part(id, document);
    const fresh = part(id, page);
    if (!old || !fresh || old.outerHTML === fresh.outerHTML) continue;
    if (id === "letter") letter(old, fresh);
    else if (waiting && (id === "words" || id === "items")) continue;
    else if (!(old.contains(active) && typing(active)) && !(dragged && id === "items")) old.replaceWith(fresh);
  }
  for (const id of open) {
    const details = document.querySelector(`#${id} details`);
    if (details) details.open = true;
  }
  if (at && document.activeElement === document.body) {
    const again = document.getElementById(at);
    if (again) again.focus({ preventScroll: true });
  }
}

// The frame stays where its letter does; a new one is shown once it is there, so that nothing flashes.
function letter(old, fresh) {
  const was = old.querySelector("iframe");
  const is = fresh.querySelector("iframe");
  old.querySelector(".looks").replaceWith(fresh.querySelector(".looks"));
  old.querySelector(".stage").className = fresh.querySelector(".stage").className;
  if (was.getAttribute("src") === is.getAttribute("src") && was.dataset.version === is.dataset.version) return;
  is.style.position = "absolute";
  is.style.visibility = "hidden";
  is.addEventListener("load", () => {
    was.remove();
    is.removeAttribute("style");
    main.dispatchEvent(new CustomEvent("proof", { detail: is.dataset.version }));
  }, { once: true });
  for (const one of old.querySelectorAll("iframe[style]")) one.remove();
  old.querySelector(".stage").append(is);
}

async function ask(url, options) {
  try {
    const answer = await fetch(url, { credentials: "same-origin", ...options });
    const html = await answer.text();
    const address = new URL(answer.url);
    if (answer.url.includes("/login")) location.assign(answer.url);
    else if (answer.ok || answer.status === 409) show(html);
    else tell(`${new DOMParser().parseFromString(html, "text/html").querySelector("h1").textContent}.`);
    seen(address);
  } catch {
    tell("The desk does not answer.");
  }
}

// What was written stays where it was written.
function tell(why) {
  const told = document.getElementById("told");
  const words = document.createElement("p");
  words.className = "problem";
  words.textContent = `Nothing was saved: ${why} Copy what you wrote, and open this page anew.`;
  told.replaceChildren(words);
}

// What the lint says comes after the letter, which is looked at first.
function seen(address) {
  if (!document.querySelector("[data-looking]")) return;
  const mine = ++turn;
  const coming = document.querySelector(".stage iframe[style]");
  if (coming) coming.addEventListener("load", () => look(address, mine), { once: true });
  else look(address, mine);
}
window.addEventListener("load", () => seen(new URL(location.href)));

async function look(address, mine) {
  address.searchParams.set("look", "1");
  const page = new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
  for (const id of ["findings", "items-heading", "items"]) {
    const old = part(id, document);
    const fresh = part(id, page);
    const used = dragged || old?.contains(document.activeElement) || (id === "items" && old?.querySelector("details[open]"));
    if (mine === turn && old && fresh && !used) old.replaceWith(fresh);
  }
}

// One after the other: each with the version that the one before it left.
function send(form, name, value) {
  const fields = new URLSearchParams(new FormData(form));
  if (name) fields.set(name, value);
  const action = form.getAttribute("action");
  waiting += 1;
  sending = sending.then(() => {
    waiting -= 1;
    // A field that is being written in is not compared with what we ourselves did since.
    let version = fields.get("version");
    while (ours.has(version)) version = ours.get(version);
    fields.set("version", version);
    return ask(action, { method: "POST", body: fields, keepalive: true });
  });
  return sending;
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-live]")) return;
  event.preventDefault();
  const button = event.submitter || form.querySelector("button[name]");
  send(form, button && button.name, button && button.value);
});

// Saved when a field is left.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form || !typing(event.target)) return;
  const button = form.querySelector("button[name=act]");
  send(form, "act", button.value);
});

// Who leaves the page while writing is asked first.
window.addEventListener("beforeunload", (event) => {
  const field = document.activeElement;
  if (typing(field) && field.closest("form[data-live]") && field.value !== field.defaultValue) event.preventDefault();
});

// Another look at the letter, in the same place.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-look]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  // The links are those of the last answer: what was chosen since then counts, too.
  const url = new URL(location.href);
  url.searchParams.set(...link.dataset.look.split("="));
  url.searchParams.delete("since");
  history.replaceState(null, "", url.pathname + url.search);
  url.hash = "";
  sending = sending.then(() => ask(url, {}));
});

// How long the words are.
document.addEventListener("input", (event) => {
  const field = event.target;
  const output = field.id && document.querySelector(`output[for="${field.id}"]`);
  if (!output) return;
  const length = [...field.value].length;
  output.textContent = length;
  output.classList.toggle("far", length > field.dataset.most || (length > 0 && length < field.dataset.least));
});

// By keyboard.
const items = () => [...document.querySelectorAll("#items > .item")];
const current = () => document.activeElement && document.activeElement.closest("#items > .item");

function step(by) {
  const all = items();
  const at = all.indexOf(current());
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))];
  if (next) next.focus();
}

function press(act, item) {
  const button = item && item.querySelector(`.acts button[value=${act}]`);
  if (!button) return;
  const all = items();
  const at = all.indexOf(item);
  send(button.form, "act", act).then(() => {
    const now = document.getElementById(item.id) || items()[Math.min(at, items().length - 1)];
    if (now) now.focus();
  });
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  J: () => press("down", current()),
  K: () => press("up", current()),
  x: () => press("drop", current()),
  t: () => press(current() && current().querySelector("[value=full]") ? "full" : "brief", current()),
  p: () => press(current() && current().classList.contains("pinned") ? "unpin" : "pin", current()),
  e: () => {
    const details = current() && current().querySelector("details.edit");
    if (!details) return;
    details.open = true;
    details.querySelector("input[name=title]").focus();
  },
  u: () => {
    const button = document.querySelector(".heading button[value=undo]");
    if (button) send(button.form, "act", "undo");
  },
  "?": () => {
    const help = document.getElementById("help");
    if (!help) return;
    help.open = !help.open;
    help.querySelector("summary").focus();
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const active = document.activeElement;
  const edited = event.key === "Escape" && active && active.closest(".item details[open]");
  if (edited) {
    edited.closest(".item").focus();
    edited.open = false;
    return;
  }
  const keys = document.getElementById("keys");
  if (typing(active) || !KEYS[event.key] || !keys || !keys.checked) return;
  event.preventDefault();
  KEYS[event.key]();
});

// Whether single keys do that is remembered in this browser.
const remembered = () => {
  const keys = document.getElementById("keys");
  if (keys) keys.checked = localStorage.getItem("keys") !== "off";
};
remembered();
document.addEventListener("change", (event) => {
  if (event.target.id === "keys") localStorage.setItem("keys", event.target.checked ? "on" : "off");
});

// By dragging.
const unmarked = () => {
  for (const one of document.querySelectorAll(".before, .after, .dragged")) one.classList.remove("before", "after", "dragged");
};
const over = (event) => event.target.closest && event.target.closest("#items > .item");
const isBefore = (event, item) => {
  const box = item.getBoundingClientRect();
  return event.clientY < box.top + box.height / 2;
};
document.addEventListener("dragstart", (event) => {
  dragged = over(event);
  if (!dragged || event.target !== dragged) {
    dragged = null;
    return;
  }
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", dragged.id);
  dragged.classList.add("dragged");
});
document.addEventListener("dragover", (event) => {
  const item = over(event);
  if (!dragged || !item) return;
  event.preventDefault();
  for (const one of document.querySelectorAll(".before, .after")) one.classList.remove("before", "after");
  item.classList.add(isBefore(event, item) ? "before" : "after");
});
document.addEventListener("dragend", () => {
  dragged = null;
  unmarked();
});
document.addEventListener("drop", (event) => {
  const item = over(event);
  if (!dragged || !item) return;
  event.preventDefault();
  const from = Number(dragged.dataset.place);
  let to = Number(item.dataset.place) + (isBefore(event, item) ? 0 : 1);
  if (from < to) to -= 1;
  const form = dragged.querySelector(".acts");
  unmarked();
  if (to === from) return;
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "to";
  field.value = to;
  form.append(field);
  send(form, "act", "move");
});
