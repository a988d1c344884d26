// @ts-check
// Judge samples: two side by side, or one proposal; one key for each answer, signed here and handed in.

import { ask } from "./bus.js";
import { at, el, writing } from "./dom.js";
import { frame } from "./frame.js";

/**
 * @typedef {{item: string, shown: string, prompt?: string, first?: string, second?: string, text?: string, spelled: string[]}} Ask
 * @typedef {{key: string, what: string, act: (pressed: number) => void}} Answer
 */

const { run } = frame((news) => {
  if (!news.samples || !by || now || filling) return;
  empty = false;
  next();
});
const place = at("ask");
const pairs = place.dataset.kind === "pair";
const encoder = new TextEncoder();
/** With fewer items here than this, more are asked for; so many that were judged may still be on their way. */
const [AHEAD, BEHIND] = [4, 8];

/** As RFC 8785 writes it. @param {any} value @returns {string} */
const canonical = (value) =>
  Array.isArray(value) ? `[${value.map(canonical).join()}]`
    : value && typeof value === "object" ? `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`
      : JSON.stringify(value);
/** @param {Uint8Array<ArrayBuffer>} data */
const b64 = (data) => btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(""));
/** @param {Uint8Array<ArrayBuffer>} data */
const sha256 = async (data) => Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", data)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// --- the key of this browser: made once, kept where no script can read it out --------------------------------------------

/** @returns {Promise<CryptoKeyPair>} */
const keyPair = async () => {
  const db = await /** @type {Promise<IDBDatabase>} */ (new Promise((done, failed) => {
    const asked = indexedDB.open("tenth", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("keys");
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  }));
  const fresh = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]));
  return new Promise((done, failed) => {
    const store = db.transaction("keys", "readwrite").objectStore("keys");
    const found = store.get("annotator");  // and, in the same transaction, the new one if there is none: two tabs get one key
    found.onsuccess = () => {
      if (!found.result) store.put(fresh, "annotator");
      done(found.result ?? fresh);
    };
    found.onerror = () => failed(found.error);
  });
};

/** An Ed25519 key as OpenSSH writes it, and its fingerprint. @param {CryptoKey} key */
const written = async (key) => {
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", key));
  const kind = encoder.encode("ssh-ed25519");
  const blob = new Uint8Array([0, 0, 0, kind.length, ...kind, 0, 0, 0, raw.length, ...raw]);
  const print = b64(new Uint8Array(await crypto.subtle.digest("SHA-256", blob))).replace("=", "");
  return { line: `ssh-ed25519 ${b64(blob)}`, fingerprint: `SHA256:${print}` };
};

// --- what is said: one statement after another, each naming the one before -------------------------------------------------

let [by, keyid, statement, number] = ["", "", "", 0];
/** @type {string | null} */
let before = null;
/** @type {CryptoKeyPair} */
let keys;
/** @type {Promise<any>} */
let queue = Promise.resolve();
/** @type {Ask[]} */
let waiting = [];
/** @type {{ask: Ask, digest: Promise<string>}[]} */
const told = [];
/** @type {Ask | undefined} */
let now;
let [since, stand, broken, editing, filling, empty] = [0, 0, false, false, false, false];

/** @param {string} event @param {string} kind what the subject is the digest of @param {() => string | Promise<string>} subject @param {Record<string, any>} facts @returns {Promise<string>} the digest of what was signed */
const say = (event, kind, subject, facts) => {
  const time = new Date().toISOString();
  const done = queue.then(async () => {
    const predicate = { run, by, number, before, time, event, ...facts };
    const payload = encoder.encode(canonical({ _type: statement, predicateType: "urn:tenth:feedback:v1",
      subject: [{ name: kind, digest: { sha256: await subject() } }], predicate }));
    const type = "application/vnd.in-toto+json";
    const pae = new Uint8Array([...encoder.encode(`DSSEv1 ${type.length} ${type} ${payload.length} `), ...payload]);
    const sig = b64(new Uint8Array(await crypto.subtle.sign("Ed25519", keys.privateKey, pae)));
    await ask(`/api/r/${run}/feedback`, { envelope: { payload: b64(payload), payloadType: type, signatures: [{ keyid, sig }] } });
    before = await sha256(payload);
    number++;
    return before;
  });
  queue = done;
  done.catch((error) => {
    broken = true;
    at("said").textContent = `This was not kept, nor anything after it: ${error.message}. Reload the page.`;
  });
  return done;
};

const fill = async () => {
  const without = [...told.slice(-BEHIND).map((one) => one.ask.item), now?.item, ...waiting.map((one) => one.item)].filter(Boolean).join();
  const found = await ask(`/api/r/${run}/feedback?${new URLSearchParams({ by, kind: pairs ? "pair" : "proposal", without })}`);
  waiting.push(...found.asks);
  return found;
};

// --- the screen --------------------------------------------------------------------------------------------------------------

const count = () => { at("judged").textContent = `${stand.toLocaleString("en")} judged in this browser`; };

/** @param {number} [pressed] when the key was pressed that led here */
const show = (pressed) => {
  editing = false;
  count();
  if (!now) {
    place.replaceChildren(el("p", { class: "none" }, filling ? "One moment …" : pairs ? "Nothing is left to compare: more samples come while the model trains." : "No proposal is left to be graded."));
    return;
  }
  const { prompt, first, second, text } = now;
  const side = (/** @type {string} */ name, /** @type {string | undefined} */ words) => el("figure", { id: name }, el("figcaption", {}, name), el("pre", { class: "claim", tabindex: "0" }, words));
  place.replaceChildren(...(pairs ? [el("pre", { class: "claim" }, el("b", {}, prompt)), el("div", { class: "sides" }, side("first", first), side("second", second))]
    : [el("pre", { class: "claim" }, text)]));
  since = performance.now();
  if (pressed) requestAnimationFrame(() => { place.dataset.took = (performance.now() - pressed).toFixed(2); });
};

/** @param {number} [pressed] */
const next = (pressed) => {
  now = waiting.shift();
  if (waiting.length < AHEAD && !filling && (now || !empty)) {
    filling = true;
    queue.then(fill).then((found) => { filling = false; empty = !found.asks.length; if (!now) next(); }).catch(() => { filling = false; });
  }
  show(pressed);
};

const seconds = () => Math.round(Math.min(86_400_000, performance.now() - since) / 100) / 10;

/** @param {string} event @param {Record<string, any>} facts @param {number} [pressed] */
const keep = (event, facts, pressed) => {
  if (!now) return;
  const judged = now;
  told.push({ ask: judged, digest: say(event, "item", () => judged.item, { ...facts, seconds: seconds() }) });
  stand++;
  next(pressed);
};

/** @param {string} answer @returns {Answer["act"]} */
const answer = (answer) => (pressed) => keep(pairs ? "judged" : "graded", { answer, ...(pairs ? { shown: now?.shown } : {}) }, pressed);

const undo = () => {
  const last = told.pop();
  if (!last) { at("said").textContent = "There is nothing to undo on this page."; return; }
  say("undone", "event", () => last.digest, {});
  if (now) waiting.unshift(now);
  now = last.ask;
  stand--;
  show();
};

/** @param {"first" | "second"} side */
const edit = (side) => () => {
  if (!now || editing) return;
  editing = true;
  const judged = now;
  const spelled = judged.spelled.includes(side);
  const begun = spelled ? "" : judged[side] ?? "";
  const text = /** @type {HTMLTextAreaElement} */ (el("textarea", { "aria-label": `Write ${side} as it should be`, rows: "12", maxlength: "16384", keydown: (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") show();
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (text.value === begun || !text.value.trim()) show();
    else keep("edited", { side, shown: judged.shown, text: text.value });
  } }));
  text.value = begun;
  at(side).replaceChildren(el("figcaption", {}, `${side}: write it as it should be${spelled ? ", from the beginning: not all of it can be shown" : ""}. Ctrl+Enter keeps it, Esc does not.`), text);
  text.focus();
};

/** @type {Answer[]} */
const ANSWERS = pairs
  ? [{ key: "1", what: "first", act: answer("first") }, { key: "2", what: "second", act: answer("second") }, { key: "0", what: "tie", act: answer("tie") },
    { key: "b", what: "both bad", act: answer("bad") }, { key: "s", what: "skip", act: answer("skip") }, { key: "e", what: "edit first", act: edit("first") },
    { key: "E", what: "edit second", act: edit("second") }, { key: "f", what: "flag", act: answer("flag") }, { key: "u", what: "undo", act: undo }]
  : [{ key: "1", what: "useful", act: answer("useful") }, { key: "2", what: "junk", act: answer("junk") }, { key: "3", what: "unsafe", act: answer("unsafe") },
    { key: "s", what: "skip", act: answer("skip") }, { key: "u", what: "undo", act: undo }];

const begin = async () => {
  if (!["watcher", "signatory"].includes(document.body.dataset.role ?? "")) throw new Error("To judge needs the role 'watcher'.");
  keys = await keyPair();
  const mine = await written(keys.publicKey);
  const id = await sha256(encoder.encode(mine.line));
  keyid = mine.fingerprint;
  by = `${document.body.dataset.name?.slice(0, 25)}-${id.slice(0, 6)}`;
  ({ number, before, stand, statement } = await fill());
  if (!number) say("joined", "key", () => id, { key: mine.line });
  at("answers").append(...ANSWERS.map(({ key, what, act }) => el("button", { type: "button", click: (/** @type {Event} */ event) => { if (!broken) act(event.timeStamp); } }, what, el("kbd", {}, key))));
  addEventListener("keydown", (event) => {
    if (broken || writing(event) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const one = ANSWERS.find(({ key }) => key === event.key);
    if (!one) return;
    event.preventDefault();
    at("said").textContent = "";
    one.act(event.timeStamp);
  });
  next();
};
begin().catch((error) => {
  place.replaceChildren(el("p", { class: "none" }, `${error.message} In a shell: tenth feedback ${run}`));
});
