// @ts-check
// What every page of a run has in common: the strip that says where it stands, the cord, and the news.

import { given, listen } from "./bus.js";
import { cord } from "./cord.js";
import { at, el, listed } from "./dom.js";

/** @typedef {import("./bus.js").News} News */
/** @typedef {import("./bus.js").Brief} Brief */

export const STANCES = /** @type {Record<string, string>} */ ({
  GATHERING: "gathering evidence", GATE: "at a gate", RUNNING: "training", HALTED: "halted", CLOSED: "closed",
});

/** Who must act now, and how many alarms there were. @param {Brief} brief */
export const waiting = (brief) => [waitsFor(brief), brief.alarms ? `alarms: ${brief.alarms}` : ""].filter(Boolean).join("; ");

/** @param {Brief} brief */
const waitsFor = ({ status, live, broken, trouble }) => {
  const stance = status?.stance ?? "";
  if (broken) return "promise 7 is broken: look at the log";
  if (trouble) return trouble;
  if (!live && stance && stance !== "CLOSED") return "no supervisor holds it";
  if (stance === "GATE") {
    if (status.objections.length) return `${listed(status.objections)} objected`;
    return status.waiting_for.length ? `waiting for ${listed(status.waiting_for)}` : "everyone consents";
  }
  if (stance === "HALTED") return "waiting for a signatory to reopen";
  if (stance === "RUNNING") return status.unwatched ? "stands still until somebody watches" : "";
  return stance === "CLOSED" ? "over" : "";
};

/** @param {Brief} brief */
const stand = (brief) => {
  const { status, broken } = brief;
  if (!status?.stance) return;
  const parts = [
    el("span", { class: "stance", "data-stance": broken ? "BROKEN" : status.stance }, STANCES[status.stance] ?? "being read"),
    el("span", { class: "gate" }, `gate ${status.gate} of ${status.gates}`),
    el("span", { class: "waits" }, waiting(brief)),
  ];
  const place = at("stand");
  const said = parts.map((part) => part.textContent).join("|");
  if (place.dataset.said === said) return;
  place.dataset.said = said;
  place.replaceChildren(...parts);
};

/**
 * Start the page of a run. `heard` gets the news of this run, and the whole of what is known.
 * @param {(news: News, brief: Brief) => void} heard
 */
export const frame = (heard) => {
  const run = document.body.dataset.run ?? "";
  const facts = given();
  /** @type {Brief} */
  const known = { run, status: facts.status, live: facts.live, progress: facts.progress, pace: facts.pace, broken: facts.broken, trouble: facts.trouble, indexing: facts.indexing, alarms: facts.alarms };
  stand(known);
  cord(run);
  listen(run, facts.cursor, (all) => {
    for (const news of all) {
      if (news.run !== run) continue;
      for (const name of /** @type {(keyof Brief)[]} */ (["status", "live", "progress", "pace", "broken", "trouble", "indexing", "alarms"])) {
        if (name in news) /** @type {any} */ (known)[name] = news[name];
      }
      stand(known);
      heard(news, known);
    }
  });
  return { run, facts, known };
};
