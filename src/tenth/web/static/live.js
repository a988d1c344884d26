// @ts-check
// The live page: what the model writes, the figures, the curves, the newest of the log.

import { curves } from "./curves.js";
import { amount, at, clock, el } from "./dom.js";
import { frame } from "./frame.js";
import { Samples } from "./samples.js";
import { h, render } from "./vendor/preact.mjs";

const EVENTS = 12;
const QUIET = new Set(["metered", "sampled"]);
/** @type {Samples | null} */
let samples = null;

const { run, facts } = frame((news, known) => {
  if (news.samples) samples?.take(news.samples, news.first);
  if (news.entries) for (const entry of news.entries) if (!QUIET.has(entry.event)) told(entry);
  figures(known);
});

render(h(Samples, { ready: (/** @type {Samples} */ one) => { samples = one; }, run, first: facts.samples, last: facts.cursor[1], role: document.body.dataset.role ?? "reader" }), at("samples"));
at("samples-count").textContent = facts.cursor[1] ? `${facts.cursor[1].toLocaleString("en")} so far` : "";
curves(run, facts.series, at("curves"));

/** @param {import("./bus.js").Entry} entry */
function told(entry) {
  const list = at("events");
  if (list.querySelector(`[data-index="${entry.idx}"]`)) return;
  list.prepend(el("li", { "data-index": entry.idx }, el("time", {}, clock(entry.time)),
    el("span", { class: "event", "data-event": entry.event }, entry.words)));
  while (list.children.length > EVENTS) list.lastElementChild?.remove();
}

/** @param {import("./bus.js").Brief} known */
function figures({ status, progress, pace }) {
  if (!status?.spent) return;
  const rows = [
    ["step", amount(progress?.step ?? status.claims?.step)], ["loss, claimed", amount(progress?.loss ?? status.claims?.loss)], ["tokens/s, claimed", amount(pace)],
    ["device-seconds", `${amount(status.spent.device_seconds)} of ${amount(status.ceiling.device_seconds)}`],
    ["FLOP, at most", `${amount(status.spent.flop)} of ${amount(status.ceiling.flop)}`],
  ];
  const place = at("figures");
  const said = rows.join("|");
  if (place.dataset.said === said) return;
  place.dataset.said = said;
  place.replaceChildren(el("dl", { class: "tiles" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}

figures(facts);
fetch(`/api/r/${run}/entries?quiet=1`).then((answer) => answer.json()).then((rows) => rows.slice(0, EVENTS).reverse().forEach(told));
