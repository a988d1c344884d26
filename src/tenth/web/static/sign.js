// @ts-check
// How a signatory speaks: with a key file, through the command line; or by handing in what was signed elsewhere.

import { ask } from "./bus.js";
import { el } from "./dom.js";

/** @typedef {{verb: string, label: string, stances: string[], what: string}} Act */
/** @type {Act[]} */
const ACTS = [
  { verb: "consent", label: "Consent", stances: ["GATE"], what: "The next tenth may be trained, once everyone consents." },
  { verb: "object", label: "Object", stances: ["GATE"], what: "Nothing starts while an objection stands." },
  { verb: "adjust", label: "Adjust", stances: ["GATE", "HALTED"], what: "Change recipe, documents or evidence; all consents are void." },
  { verb: "reopen", label: "Reopen", stances: ["HALTED"], what: "Evidence is gathered, and everyone is asked again." },
  { verb: "close", label: "Abandon", stances: ["GATHERING", "GATE", "HALTED"], what: "The run ends here, for good." },
];

/** @param {HTMLElement} place @param {string} run @param {any} facts */
export const signing = (place, run, facts) => {
  let stance = "";
  const body = el("div");
  const said = el("p", { role: "status", class: "said" });
  place.append(el("h2", {}, "Speak"), body, said);

  /** @param {Act} act */
  const command = (act) => {
    const words = `tenth ${act.verb} ${run}${act.verb === "adjust" ? " --set KEY=VALUE" : ""}`;
    const copy = el("button", { type: "button", click: () => navigator.clipboard.writeText(words).then(() => { said.textContent = "copied"; }) }, "Copy");
    return el("div", { class: "command" }, el("code", {}, words), copy);
  };

  const draw = () => {
    const possible = ACTS.filter((act) => act.stances.includes(stance) && (!["consent", "object"].includes(act.verb) || facts.newest !== false));
    body.replaceChildren(
      ...(possible.length ? [] : [el("p", {}, stance === "RUNNING" ? "While it trains, only the cord acts on it." : "There is nothing to sign now.")]),
      ...possible.map((act) => el("details", { class: "act", name: "act", "data-act": act.verb }, el("summary", {}, act.label),
        el("p", {}, act.what), el("p", { class: "small" }, "With your key file, in a shell on this machine:"), command(act))),
      el("details", { class: "act", name: "act", "data-act": "elsewhere" }, el("summary", {}, "Sign on another machine"),
        el("p", {}, el("a", { href: `/api/r/${run}/pack/review`, download: true }, "Download the review pack"), ", sign it there, and hand in the file that this writes:"),
        el("code", {}, "tenth consent --offline PACK.zip -o consent.json"),
        el("input", { type: "file", accept: ".json,application/json", "aria-label": "A signed statement", change: hand })));
  };

  /** @param {Event} event */
  const hand = async (event) => {
    const file = /** @type {HTMLInputElement} */ (event.target).files?.[0];
    if (!file) return;
    said.textContent = "";
    try {
      const answer = await ask(`/api/r/${run}/submit`, { envelope: JSON.parse(await file.text()) });
      said.textContent = `It stands in the log as entry ${answer.index}.`;
    } catch (error) {
      said.textContent = String(error instanceof Error ? error.message : error);
    }
    /** @type {HTMLInputElement} */ (event.target).value = "";
  };

  draw();
  return {
    /** @param {import("./bus.js").Brief} brief */
    stood: (brief) => {
      const now = brief.live ? brief.status.stance : "";
      if (now === stance) return;
      stance = now;
      draw();
    },
  };
};
