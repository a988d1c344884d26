// @ts-check
// What is new, from the one event stream of this browser; without shared workers, from a stream of this page.

import { pulse } from "./pulse.js";

/**
 * @typedef {{stance: string, gate: number, gates: number, signatories: string[], consents: string[], objections: string[],
 *   waiting_for: string[], spent: Compute, ceiling: Compute, limit?: Compute, anchor: string, dossier: string | null,
 *   entries: number, frozen: boolean, unwatched: boolean, claims: Record<string, any>}} Status
 * @typedef {{device_seconds: number, flop: number}} Compute
 * @typedef {{seq: number, gate: number, step: number, time: string, prompt: string, text: string, temperature: number | null,
 *   signs: string, risk: number, sha: string, bits: string | null}} Sample
 * @typedef {{idx: number, time: string, event: string, words: string}} Entry
 * @typedef {{step?: number, tokens?: number, loss?: number | null, metrics?: Record<string, number>}} Progress
 * @typedef {{run: string, status: Status, live: boolean, progress: Progress, pace: number | null,
 *   broken: Record<string, string> | null, trouble: string, indexing: boolean, alarms: number}} Brief
 * @typedef {Partial<Brief> & {run: string, samples?: Sample[], entries?: Entry[], first?: number}} News
 */

/** The data that the server put into the page. @returns {any} */
export const given = () => JSON.parse(document.getElementById("given")?.textContent ?? "{}");

/** @param {string} url */
const trusted = (url) => {
  const types = /** @type {any} */ (window).trustedTypes;
  if (!types) return url;
  // The one script that may be started is the one the server named.
  const policy = types.createPolicy("tenth", {
    createScriptURL: (/** @type {string} */ wanted) => {
      if (wanted !== document.body.dataset.worker) throw new TypeError("no such script");
      return wanted;
    },
  });
  return policy.createScriptURL(url);
};

/**
 * @param {string | null} run the run that this page shows
 * @param {[number, number]} cursor how many entries, and which sample, it has
 * @param {(news: News[]) => void} heard
 */
export const listen = (run, cursor, heard) => {
  const said = (/** @type {any} */ message) => {
    if (message.pulse) dispatchEvent(new CustomEvent("pulse", { detail: message.pulse }));
    if ("lost" in message) document.body.toggleAttribute("data-lost", message.lost);
    if (message.messages) heard(message.messages);
  };
  const cord = document.body.dataset.cord ?? "";
  if (!("SharedWorker" in window)) {
    if (run) pulse(cord, run, (found) => said({ pulse: found }));
    return alone(run, cursor, said);
  }
  const worker = new SharedWorker(trusted(document.body.dataset.worker ?? ""), { name: "tenth", type: "module" });
  worker.port.onmessage = ({ data }) => said(data);
  const here = () => worker.port.postMessage({ run, cursor, cord });
  let told = 0;
  const used = () => {
    if (performance.now() - told < 500) return;
    told = performance.now();
    worker.port.postMessage({ run, cursor, cord, used: true });
  };
  for (const name of ["focus", "pointerdown", "keydown"]) addEventListener(name, used, { capture: true, passive: true });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) used(); });
  here();
  setInterval(here, 20_000);
  addEventListener("pagehide", () => worker.port.postMessage({ bye: true }));
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
};

/**
 * @param {string | null} run
 * @param {[number, number]} cursor
 * @param {(message: any) => void} said
 */
const alone = (run, cursor, said) => {
  let place = cursor;
  const source = new EventSource(`/events?want=${run ? encodeURIComponent(`${run}:${place[0]}:${place[1]}`) : ""}`);
  source.onopen = () => said({ lost: false });
  source.onerror = () => {
    said({ lost: true });
    source.close();
    setTimeout(() => alone(run, place, said), 700);
  };
  source.onmessage = (event) => {
    const messages = JSON.parse(event.data);
    for (const message of messages) if (message.cursor) place = message.cursor;
    said({ messages });
  };
};

/**
 * Ask the pages server. Raises an Error whose message is the refusal in its three parts.
 * @param {string} path @param {object} [body] @returns {Promise<any>}
 */
export const ask = async (path, body) => {
  const how = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const answer = await fetch(path, how);
  const found = await answer.json();
  if (answer.ok) return found;
  const { refused, found: seen, do: next } = found.error ?? { refused: `status ${answer.status}` };
  throw new Error([refused, seen, next].filter(Boolean).join("; "));
};
