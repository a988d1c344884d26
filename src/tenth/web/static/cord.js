// @ts-check
// The cord: one click or the key P stops the run. It asks nothing, has a port of its own, and says how long it took.

import { at, el, writing } from "./dom.js";

const LIVE_MS = 5_000;
/** After so long without an answer, the other way is tried, too. */
const SECOND_WAY_MS = 400;

/** @param {string} run */
export const cord = (run) => {
  const place = at("cord");
  const button = /** @type {HTMLButtonElement} */ (place.querySelector(".pull"));
  const state = /** @type {HTMLElement} */ (place.querySelector(".cord-state"));
  const base = `${document.body.dataset.cord}/cord/${encodeURIComponent(run)}`;
  let heard = -Infinity;
  /** The cord's server answers, and nobody holds the run. */
  let empty = false;
  let result = "";
  button.append(el("kbd", { "aria-hidden": "true" }, "P"));
  button.setAttribute("aria-keyshortcuts", "p");

  const show = () => {
    const live = performance.now() - heard < LIVE_MS;
    const over = /** @type {HTMLElement | null} */ (document.querySelector("#stand .stance"))?.dataset.stance === "CLOSED";
    const dead = empty ? "no supervisor holds it: nothing runs" : "cord not live: tenth pull, from a shell";
    const said = result || (over ? "the run is over" : live ? "cord live" : dead);
    place.dataset.live = String(live);
    place.dataset.over = String(over);
    if (state.textContent !== said) state.textContent = said;
  };

  addEventListener("pulse", (event) => {
    const found = /** @type {CustomEvent<import("./pulse.js").Pulse>} */ (event).detail;
    empty = found.reached && !found.held;
    if (found.live) {
      heard = performance.now();
      place.dataset.round = String(found.round);
    } else heard = -Infinity;
    show();
  });

  /** @param {number} pressed */
  const pull = async (pressed) => {
    if (button.disabled) return;
    result = "pulling …";
    place.dataset.pulled = "asked";
    place.dataset.pressed = String(performance.timeOrigin + pressed);
    place.dataset.heard = (performance.now() - pressed).toFixed(1);
    show();
    const first = fetch(`${base}/pull`, { method: "POST", credentials: "include", keepalive: true, priority: "high" });
    const late = new Promise((resolve) => { setTimeout(resolve, SECOND_WAY_MS); });
    const second = Promise.race([first.then((answer) => (answer.ok ? null : late), () => null), late]).then(() =>
      place.dataset.pulled === "asked" ? fetch(`/api/r/${encodeURIComponent(run)}/pull`, { method: "POST" }) : first);
    try {
      const answer = await Promise.any([first, second].map(async (way) => {
        const came = await way;
        const found = await came.json();
        if (!came.ok) throw new Error(found.error?.found || found.error?.refused);
        return found;
      }));
      const took = performance.now() - pressed;
      place.dataset.pulled = "stopped";
      place.dataset.took = took.toFixed(1);
      const inside = answer.processes ? `, ${answer.processes} processes in ${answer.stopped_ms.toFixed(1)} ms` : "";
      result = answer.running ? `stopped ${took.toFixed(0)} ms after you pressed${inside}` : "nothing was running";
      if (answer.killed) result = `the supervisor did not answer and was killed, ${took.toFixed(0)} ms after you pressed`;
    } catch (error) {
      place.dataset.pulled = "failed";
      result = "NOT STOPPED from here: use tenth pull, from a shell";
    }
    show();
    setTimeout(() => { result = ""; show(); }, 60_000);
  };

  button.addEventListener("click", (event) => pull(event.timeStamp));
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey || event.repeat || writing(event)) return;
    event.preventDefault();
    pull(event.timeStamp);
  });
  setInterval(show, 500);
};
