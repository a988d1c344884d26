// @ts-check
// The log: every entry in words, its bytes and its proof in place, and the verdict of 'tenth verify'.

import { ask } from "./bus.js";
import { at, el } from "./dom.js";
import { STANCES, frame } from "./frame.js";
import { prove } from "./proof.js";

/** @typedef {import("./bus.js").Entry} Entry */

const list = at("entries");
const QUIET = ["metered", "sampled"];
const quiet = /** @type {HTMLInputElement} */ (at("quiet"));

const { run } = frame((news, known) => {
  if (known.status.entries) at("size").textContent = `${known.status.entries.toLocaleString("en")} entries`;
  for (const entry of news.entries ?? []) {
    if (quiet.checked && QUIET.includes(entry.event)) continue;
    if (!list.querySelector(`[data-index="${entry.idx}"]`)) list.prepend(row(entry));
  }
});

/** @param {Entry} entry */
function row(entry) {
  return el("li", { "data-index": entry.idx }, el("time", { datetime: entry.time }, `${entry.time.slice(0, 10)} ${entry.time.slice(11, 19)}`),
    el("span", { class: "index" }, String(entry.idx)), el("span", { class: "event", "data-event": entry.event }, entry.words));
}

/** Show the bytes of an entry, and prove them. @param {HTMLElement} item */
async function open(item) {
  const shown = item.querySelector(".entry");
  if (shown) { shown.remove(); return; }
  const entry = await ask(`/api/r/${run}/entry/${item.dataset.index}`);
  const verdict = el("p", { class: "verdict", role: "status" }, "computing the proof …");
  item.append(el("div", { class: "entry" }, verdict, el("pre", { class: "bytes", tabindex: "0" }, entry.shown)));
  try {
    const found = await prove(entry);
    verdict.dataset.holds = String(found.holds);
    verdict.textContent = found.holds
      ? `Computed here: leaf ${found.leaf.slice(0, 16)}… stands under the signed root ${found.root.slice(0, 16)}… of ${found.size.toLocaleString("en")} entries.`
      : `This entry does not hold: ${found.why}.`;
    at("root").textContent = found.root;
  } catch (error) {
    verdict.textContent = `This browser cannot compute the proof (${error}). Use tenth verify.`;
  }
}

list.addEventListener("click", (event) => {
  const item = /** @type {HTMLElement} */ (event.target).closest("li");
  if (item && !(/** @type {HTMLElement} */ (event.target)).closest(".entry")) open(item);
});
list.addEventListener("keydown", (event) => {
  const item = /** @type {HTMLElement} */ (event.target).closest("button.show")?.closest("li");
  if (item && event.key === "Enter") { event.preventDefault(); open(item); }
});
new MutationObserver(reach).observe(list, { childList: true });
reach();

/** Every entry can be reached by keyboard. */
function reach() {
  for (const item of list.children) {
    if (item.querySelector(".show")) continue;
    item.append(el("button", { type: "button", class: "show", "aria-label": `prove entry ${/** @type {HTMLElement} */ (item).dataset.index}` }, "prove"));
  }
}

async function again() {
  const rows = await ask(`/api/r/${run}/entries?quiet=${quiet.checked ? 1 : 0}`);
  list.replaceChildren(...rows.map(row));
}
quiet.addEventListener("change", again);
at("older").addEventListener("click", async () => {
  const last = /** @type {HTMLElement | null} */ (list.lastElementChild)?.dataset.index ?? "0";
  const rows = await ask(`/api/r/${run}/entries?quiet=${quiet.checked ? 1 : 0}&before=${last}`);
  list.append(...rows.map(row));
  if (!rows.length) at("older").remove();
});

at("verify").addEventListener("click", async () => {
  const place = at("verified");
  place.replaceChildren(el("p", { class: "notice" }, "Replaying log, law and signatures, and hashing every file …"));
  try {
    const found = await ask(`/api/r/${run}/verify`, {});
    if (found.verifies) {
      place.replaceChildren(el("div", { class: "card holds" }, el("h3", {}, "It verifies"),
        el("p", {}, `${found.entries.toLocaleString("en")} entries, ${found.heads.toLocaleString("en")} heads; the run is ${STANCES[found.stance]}, ${found.gate} of ${found.gates} tenths done.`),
        el("p", { class: "mono small" }, `head ${found.head}`), ...found.notes.map((/** @type {string} */ note) => el("p", {}, note))));
    } else {
      const error = found.error ?? {};
      place.replaceChildren(el("div", { class: "card broken", role: "alert" }, el("h3", {}, "A promise is broken"),
        el("p", {}, [error.refused, error.found, error.do].filter(Boolean).join("; "))));
    }
  } catch (error) {
    place.replaceChildren(el("p", { class: "notice" }, String(error)));
  }
});

const wanted = location.hash.slice(1);
if (/^\d+$/.test(wanted)) {
  ask(`/api/r/${run}/entries?before=${Number(wanted) + 1}`).then((rows) => {
    list.replaceChildren(...rows.map(row));
    if (list.firstElementChild) open(/** @type {HTMLElement} */ (list.firstElementChild));
  });
}
