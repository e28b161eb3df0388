// An issue on its way: the numbers as they change, told by the server. Without this script "Look again" does it.
"use strict";

const live = document.getElementById("live");
// Parts of the page beside the numbers that change with where the issue stands.
const PARTS = ["acts", "letters", "history"];
const LATER = 10000;
let source = null;
let timer = null;

const busy = (element) => element.contains(document.activeElement) || element.querySelector("input:checked");

// The numbers of the server take the place of the old ones; what was opened, scrolled or focused stays so.
function show(html) {
  const fresh = document.createElement("div");
  fresh.innerHTML = html;
  const state = (element) => element.querySelector("[data-state]")?.dataset.state;
  const moved = state(live) !== state(fresh);
  const active = document.activeElement;
  const inside = live.contains(active) ? spots(live).indexOf(active) : -1;
  const open = [...live.querySelectorAll("details[open]")].map((one) => one.id);
  const scrolled = [...live.querySelectorAll(".scroll")].map((one) => [one.scrollLeft, one.scrollTop]);
  live.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  [...live.querySelectorAll(".scroll")].forEach((one, at) => {
    if (scrolled[at]) [one.scrollLeft, one.scrollTop] = scrolled[at];
  });
  if (inside >= 0) spots(live)[inside]?.focus({ preventScroll: true });
  if (moved) refresh();
}

const spots = (element) => [...element.querySelectorAll("a, summary, [tabindex]")];

// The rest of the page, but for a part that somebody is about to use.
async function refresh() {
  try {
    const answer = await fetch(location.pathname);
    if (answer.url.includes("/login")) {
      location.assign(answer.url);
      return;
    }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of PARTS) {
      const old = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (old && fresh && !busy(old) && old.outerHTML !== fresh.outerHTML) old.replaceWith(fresh);
    }
    const heading = page.querySelector("h1").textContent;
    if (document.querySelector("h1").textContent !== heading) {
      document.querySelector("h1").textContent = heading;
      document.title = page.title;
      document.getElementById("told").textContent = live.querySelector(".state")?.textContent || heading;
    }
    printing();
  } catch {
    // The next look may find the desk again.
  }
}

function watch() {
  clearTimeout(timer);
  if (!live?.dataset.events || source || document.hidden) return;
  source = new EventSource(live.dataset.events);
  source.addEventListener("numbers", (event) => show(event.data));
  source.addEventListener("end", stop);
  source.addEventListener("error", () => {
    // It connects again by itself, but where it was refused: logged out, or the desk is gone.
    if (source?.readyState !== EventSource.CLOSED) return;
    stop();
    timer = setTimeout(() => refresh().then(watch), LATER);
  });
}

function stop() {
  source?.close();
  source = null;
}

function printing() {
  for (const button of document.querySelectorAll("[data-print]")) button.hidden = false;
}

document.addEventListener("visibilitychange", () => (document.hidden ? stop() : watch()));
document.addEventListener("click", (event) => {
  if (event.target.matches("[data-print]")) window.print();
});
printing();
watch();
