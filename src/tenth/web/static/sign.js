// @ts-check
// How a signatory speaks: with a passkey, here; with a key file, through the command line; or by handing in what was signed.

import { ask } from "./bus.js";
import { el } from "./dom.js";
import { sign } from "./passkey.js";

/** @typedef {{verb: string, event: string, kind: string, label: string, stances: string[], what: string}} Act */
/** @type {Act[]} */
const ACTS = [
  { verb: "consent", event: "consented", kind: "consent", label: "Consent", stances: ["GATE"], what: "The next tenth may be trained, once everyone consents." },
  { verb: "object", event: "objected", kind: "objection", label: "Object", stances: ["GATE"], what: "Nothing starts while an objection stands." },
  { verb: "adjust", event: "adjusted", kind: "adjustment", label: "Adjust", stances: ["GATE", "HALTED"], what: "Change recipe, documents or evidence. All consents are void." },
  { verb: "reopen", event: "reopened", kind: "reopening", label: "Reopen", stances: ["HALTED"], what: "Evidence is gathered, and everyone is asked again." },
  { verb: "close", event: "closed", kind: "closing", label: "Abandon", stances: ["GATHERING", "GATE", "HALTED"], what: "The run ends here, for good." },
];
const ON_DOSSIER = ["consented", "objected"];

/** A value of a recipe, as TOML and JSON both write the plain ones. @param {string} text */
const value = (text) => { try { return JSON.parse(text); } catch { return text; } };

/** @param {HTMLElement} place @param {string} run @param {any} facts */
export const signing = (place, run, facts) => {
  let stance = "";
  let anchor = "";
  const me = document.body.dataset.name ?? "";
  const mine = facts.passkeys.includes(me);
  const body = el("div");
  const said = el("p", { role: "status", class: "said" });
  const told = el("div", { role: "status" });
  place.append(el("h2", {}, "Speak"), told, body, said);
  /** @param {unknown} error */
  const tell = (error) => { said.textContent = error instanceof Error ? error.message : String(error); };

  /** @param {Act} act */
  const command = (act) => {
    const words = `tenth ${act.verb} ${run}${act.verb === "adjust" ? " --set KEY=VALUE" : ""}`;
    const copy = el("button", { type: "button", "aria-label": `Copy ${words}`, click: () => navigator.clipboard.writeText(words).then(() => { said.textContent = "copied"; }) }, "Copy");
    return el("div", { class: "command" }, el("code", {}, words), copy);
  };

  /** What an adjustment changes. @param {HTMLFormElement} form */
  const patch = (form) => {
    const text = (/** @type {string} */ name) => /** @type {HTMLTextAreaElement} */ (form.elements.namedItem(name)).value.split("\n").map((line) => line.trim()).filter(Boolean);
    const settings = text("settings").map((line) => line.split(/=(.*)/s));
    if (settings.some((pair) => pair.length < 2)) throw new Error("write settings as key = value");
    const exclude = text("exclude");
    return {
      ...(settings.length ? { recipe: Object.fromEntries(settings.map(([key, rest]) => [key.trim(), value(rest.trim())])) } : {}),
      ...(exclude.length ? { exclude } : {}),
    };
  };

  /** Sign with the passkey, and hand it in. @param {{event: string, kind: string}} act @param {string} note @param {object} changes */
  const signed = async (act, note, changes) => {
    const onDossier = ON_DOSSIER.includes(act.event);
    const draft = await ask(`/api/r/${run}/draft`, { event: act.event, signatory: me, note, ...changes });
    const wanted = { run, signatory: me, anchor: onDossier ? facts.digest : anchor, note, ...changes };
    const envelope = await sign(draft, wanted, `urn:tenth:${act.kind}:v1`, onDossier ? facts.subjects : null);
    return ask(`/api/r/${run}/submit`, { envelope });
  };

  /** What this gate's drill was, and the note of it that is still to be signed. @param {{says: string, note: string} | null} drill */
  const reveal = (drill) => {
    if (!drill) return;
    const record = async () => {
      try {
        await signed({ event: "noted", kind: "note" }, drill.note, {});
        location.reload();
      } catch (error) { tell(error); }
    };
    body.hidden = true;
    told.replaceChildren(...drill.says.split("\n").map((line) => el("p", {}, line)),
      mine ? el("button", { type: "button", class: "primary", click: record }, "Put it on record with your passkey, then see the gate")
        : el("p", {}, "To put it on record, and to go on to the gate itself: ", el("code", {}, `tenth consent ${run}`)));
  };

  /** @param {Act} act @param {HTMLFormElement} form */
  const speak = async (act, form) => {
    said.textContent = "";
    const note = /** @type {HTMLInputElement} */ (form.elements.namedItem("note")).value;
    try {
      const changes = act.verb === "adjust" ? { patch: patch(form) } : {};
      const answer = await signed(act, note, changes);
      if (answer.drill) { reveal(answer.drill); return; }
      said.textContent = `Signed. It stands in the log as entry ${answer.index}.`;
    } catch (error) { tell(error); }
  };

  /** @param {Act} act */
  const passkey = (act) => {
    const form = /** @type {HTMLFormElement} */ (el("form", { class: "speak", submit: (/** @type {Event} */ event) => { event.preventDefault(); speak(act, form); } },
      ...(act.verb === "adjust" ? [
        el("label", {}, "Recipe, one key = value a line", el("textarea", { name: "settings", rows: "2", spellcheck: "false" })),
        el("label", {}, "Documents to leave out, one pattern a line", el("textarea", { name: "exclude", rows: "2", spellcheck: "false" })),
      ] : []),
      el("label", {}, "Note, signed with it", el("input", { name: "note", maxlength: "2000", autocomplete: "off" })),
      el("button", { type: "submit", class: "primary" }, `${act.label} with your passkey`)));
    return form;
  };

  const draw = () => {
    const possible = ACTS.filter((act) => act.stances.includes(stance) && (!ON_DOSSIER.includes(act.event) || facts.newest));
    body.replaceChildren(
      ...(possible.length ? [] : [el("p", {}, stance === "RUNNING" ? "While it trains, only the cord acts on it." : "There is nothing to sign now.")]),
      ...possible.map((act) => el("details", { class: "act", name: "act", "data-act": act.verb }, el("summary", {}, act.label),
        el("p", {}, act.what), ...(mine ? [passkey(act)] : []),
        el("p", { class: "small" }, mine ? "Or with a key file, in a shell:" : "With your key file, in a shell on this machine:"), command(act))),
      el("details", { class: "act", name: "act", "data-act": "elsewhere" }, el("summary", {}, "Sign on another machine"),
        el("p", {}, el("a", { href: `/api/r/${run}/pack/review`, download: true }, "Download the review pack"), ", sign it there, and hand in the file that this writes:"),
        el("code", {}, "tenth consent --offline PACK.zip -o consent.json"),
        el("input", { type: "file", accept: ".json,application/json", "aria-label": "A signed statement", change: hand })));
  };

  /** @param {Event} event */
  const hand = async (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    const file = input.files?.[0];
    if (!file) return;
    said.textContent = "";
    try {
      const answer = await ask(`/api/r/${run}/submit`, { envelope: JSON.parse(await file.text()) });
      said.textContent = `It stands in the log as entry ${answer.index}.`;
    } catch (error) { tell(error); }
    input.value = "";
  };

  draw();
  reveal(facts.drill);
  return {
    /** @param {import("./bus.js").Brief} brief */
    stood: (brief) => {
      const now = brief.live ? brief.status.stance : "";
      anchor = brief.status?.anchor ?? "";
      if (now === stance) return;
      stance = now;
      draw();
    },
  };
};
