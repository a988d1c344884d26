// @ts-check
// The list of runs, kept up to date.

import { given, listen } from "./bus.js";
import { amount, at } from "./dom.js";
import { STANCES, waiting } from "./frame.js";

const SVG = "http://www.w3.org/2000/svg";
const facts = given();

/** @param {number[]} values @returns {SVGElement | string} */
const spark = (values) => {
  if (values.length < 2) return "";
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, i) => `${(i / (values.length - 1)) * 100},${22 - ((value - low) / (high - low || 1)) * 20}`);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
};

/** @param {HTMLElement} card @param {any} brief */
const draw = (card, brief) => {
  const { status } = brief;
  if (!status?.stance) return;
  const put = (/** @type {string} */ name, /** @type {string} */ text) => {
    const node = card.querySelector(name);
    if (node && node.textContent !== text) node.textContent = text;
  };
  put(".stance", STANCES[status.stance] ?? "being read");
  /** @type {HTMLElement} */ (card.querySelector(".stance")).dataset.stance = brief.broken ? "BROKEN" : status.stance;
  put(".waits", waiting(brief));
  put(".progress", `gate ${status.gate} of ${status.gates}`);
  put(".ceiling", `${amount(status.spent.device_seconds)} of ${amount(status.ceiling.device_seconds)} device-seconds`);
  card.style.setProperty("--done", String(status.gate / status.gates));
};

const cards = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".run"));
for (const card of cards) {
  const brief = facts[card.dataset.run ?? ""];
  card.querySelector(".spark")?.replaceChildren(spark(brief.line));
  draw(card, brief);
}

listen(null, [0, 0], (all) => {
  for (const news of all) {
    if (!(news.run in facts)) { location.reload(); return; }
    Object.assign(facts[news.run], news);
    const card = /** @type {HTMLElement | null} */ (at("runs").querySelector(`[data-run="${CSS.escape(news.run)}"]`));
    if (card) draw(card, facts[news.run]);
  }
});
