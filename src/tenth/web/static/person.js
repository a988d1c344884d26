// @ts-check
// The page of a person: make a passkey, and get the line for the charter.

import { at, el } from "./dom.js";
import { enrol } from "./passkey.js";

const name = /** @type {HTMLInputElement} */ (at("passkey-name"));
at("enrol").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = at("made");
  try {
    const line = await enrol(name.value);
    const words = `[[signatory]]\nname = "${name.value}"\nkey = "${line}"`;
    const copy = el("button", { type: "button", click: () => navigator.clipboard.writeText(words) }, "Copy");
    place.replaceChildren(el("p", {}, "For the charter:"), el("pre", { class: "bytes", id: "line", tabindex: "0" }, words), copy);
  } catch (error) {
    place.replaceChildren(el("p", { class: "notice" }, `No passkey was made: ${error instanceof Error ? error.message : error}`));
  }
});
