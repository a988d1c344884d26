// @ts-check
// The gate: keeps the people up to date, marks what was not opened, and lets a signatory speak.

import { at, duration, el } from "./dom.js";
import { frame } from "./frame.js";
import { signing } from "./sign.js";

const { run, facts } = frame((news, known) => {
  people(known.status);
  desk?.stood(known);
  const sealed = news.entries?.findLast((entry) => entry.event === "sealed");
  if (sealed && sealed.idx !== facts.entry) fresh();
});
const desk = document.getElementById("sign") ? signing(at("sign"), run, facts) : null;
desk?.stood(facts);

/** @param {import("./bus.js").Status} status */
function people(status) {
  const place = document.getElementById("people");
  if (!place || status.dossier !== facts.digest) return;
  const said = (/** @type {string} */ name) => (status.objections.includes(name) ? "objected" : status.consents.includes(name) ? "consented" : "");
  const words = /** @type {Record<string, string>} */ ({ consented: "consents", objected: "objects", "": "has not spoken" });
  const now = status.signatories.map((name) => `${name}:${said(name)}`).join();
  if (place.dataset.now === now) return;
  place.dataset.now = now;
  place.replaceChildren(...status.signatories.map((name) => el("li", { "data-said": said(name) }, el("strong", {}, name), " ", el("span", {}, words[said(name)]))));
}

function fresh() {
  if (document.getElementById("fresh")) return;
  if (!facts.path) { location.reload(); return; }
  at("main").prepend(el("p", { id: "fresh", class: "notice", role: "alert" }, "A new dossier was sealed. ", el("a", { href: `/r/${run}/gate` }, "Read it")));
}

document.getElementById("seals")?.addEventListener("change", (event) => {
  location.href = `/r/${run}/gate/${/** @type {HTMLSelectElement} */ (event.target).value}`;
});

// --- attention: how long, and what was not looked at; kept in this browser only ------------------------------------------

const place = document.getElementById("attention");
if (place) {
  const parts = /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll("[data-part]")]);
  const key = `read:${run}:${facts.digest}`;
  /** @type {{seconds: number, seen: string[]}} */
  const kept = JSON.parse(localStorage.getItem(key) ?? '{"seconds":0,"seen":[]}');
  const seen = new Set(kept.seen);
  let seconds = kept.seconds;
  const time = el("strong", { class: "num" });
  const rest = el("ul");
  place.append(el("h2", {}, "Your reading"), el("p", {}, "You have spent ", time, " on this dossier."), rest);
  const show = () => {
    time.textContent = duration(seconds);
    const unread = parts.filter((part) => !seen.has(part.dataset.part ?? ""));
    rest.replaceChildren(...(unread.length ? [el("li", { class: "lead" }, "Not looked at yet:"), ...unread.map((part) => el("li", {}, el("a", { href: `#${part.id}`, click: () => { part.open = true; } }, part.dataset.part)))]
      : [el("li", { class: "lead" }, "You have looked at every part.")]));
  };
  const mark = (/** @type {Element} */ part) => {
    const { part: name } = /** @type {HTMLElement} */ (part).dataset;
    if (name && /** @type {HTMLDetailsElement} */ (part).open && !seen.has(name)) { seen.add(name); show(); }
  };
  /** Parts that were in sight for a second. @type {Map<Element, number>} */
  const sight = new Map();
  const watch = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      clearTimeout(sight.get(target));
      if (isIntersecting) sight.set(target, setTimeout(() => mark(target), 1_000));
    }
  }, { threshold: [0, 0.2] });
  parts.forEach((part, i) => { part.id ||= `part${i}`; watch.observe(part); part.addEventListener("toggle", () => { watch.unobserve(part); watch.observe(part); }); });
  setInterval(() => {
    if (document.hidden) return;
    seconds++;
    show();
    localStorage.setItem(key, JSON.stringify({ seconds, seen: [...seen] }));
  }, 1_000);
  show();
}
