// @ts-check
// One event stream for all tabs of this browser: a browser opens six connections to one port, and tabs are many.
// Each tab says which run it shows and how far it has read; what comes is handed to every tab of that run.

import { pulse } from "./pulse.js";

/** @typedef {{run: string, cursor?: [number, number], entries?: any[], samples?: {seq: number}[], first?: number}} Message */
/** @typedef {{run: string | null, seen: number, used: number, waiting: Map<string, Message>}} Tab */

/** @type {Map<MessagePort, Tab>} */
const tabs = new Map();
/** How far each run that somebody looks at was read. @type {Map<string, [number, number]>} */
const places = new Map();
/** What ends the questions about the cord of each run. @type {Map<string, () => void>} */
const pulses = new Map();
/** @type {EventSource | null} */
let source = null;
let lost = false;
let retry = 0;
/** A tab that said nothing for so long is gone: tabs in the background are heard once a minute. */
const GONE = 150_000;
/** The tab that was used last hears everything at once; the others every so often, and of the samples those that they show. */
const LATER_MS = 2_000;
const SHOWN = 200;

/** @param {unknown} message */
const tell = (message) => { for (const port of tabs.keys()) port.postMessage(message); };

const open = () => {
  clearTimeout(retry);
  source?.close();
  const want = [...places].map(([run, [entry, sample]]) => `${run}:${entry}:${sample}`).join(",");
  const mine = new EventSource(`/events?want=${encodeURIComponent(want)}`);
  source = mine;
  mine.onopen = () => { lost = false; tell({ lost }); };
  mine.onerror = () => {
    if (source !== mine) return;
    lost = true;
    tell({ lost });
    mine.close();
    clearTimeout(retry);
    retry = setTimeout(open, 700);
  };
  mine.onmessage = (event) => {
    /** @type {Message[]} */
    const messages = JSON.parse(event.data);
    for (const message of messages) {
      if (message.cursor && places.has(message.run)) places.set(message.run, message.cursor);
    }
    const front = Math.max(...[...tabs.values()].map((tab) => tab.used));
    for (const [port, tab] of tabs) {
      const his = messages.map((message) => (message.run === tab.run || !("cursor" in message) ? message : brief(message)));
      if (tab.used === front && !tab.waiting.size) port.postMessage({ messages: his });
      else for (const message of his) tab.waiting.set(message.run, merged(tab.waiting.get(message.run), message));
      if (tab.used === front) hand(port, tab);
    }
  };
};

/** What other pages need of a run: where it stands. @param {Message} message @returns {Message} */
const brief = ({ entries: _entries, samples: _samples, cursor: _cursor, ...rest }) => rest;

/** Two pieces of news as one. `first` says which sample it began with, so that nobody takes those left out for lost. @param {Message | undefined} old @param {Message} fresh @returns {Message} */
const merged = (old, fresh) => {
  if (!old) return { ...fresh, first: fresh.samples?.[0]?.seq };
  const samples = [...(old.samples ?? []), ...(fresh.samples ?? [])].slice(-SHOWN);
  const entries = [...(old.entries ?? []), ...(fresh.entries ?? [])];
  return { ...old, ...fresh, ...(samples.length ? { samples } : {}), ...(entries.length ? { entries } : {}), first: old.first ?? fresh.samples?.[0]?.seq };
};

/** @param {MessagePort} port @param {Tab} tab */
const hand = (port, tab) => {
  if (!tab.waiting.size) return;
  port.postMessage({ messages: [...tab.waiting.values()] });
  tab.waiting.clear();
};
setInterval(() => { for (const [port, tab] of tabs) hand(port, tab); }, LATER_MS);

const prune = () => {
  for (const [port, tab] of tabs) if (Date.now() - tab.seen > GONE) tabs.delete(port);
  for (const run of places.keys()) {
    if ([...tabs.values()].some((tab) => tab.run === run)) continue;
    places.delete(run);
    pulses.get(run)?.();
    pulses.delete(run);
  }
};

/** @param {MessagePort} port */
const welcome = (port) => {
  port.onmessage = ({ data }) => {
    if (data.bye) {
      tabs.delete(port);
      prune();
      if (!tabs.size) { source?.close(); source = null; }
      return;
    }
    const known = tabs.get(port);
    if (known) {
      known.seen = Date.now();
      if (data.used) { known.used = performance.now(); hand(port, known); }
      return;
    }
    tabs.set(port, { run: data.run, seen: Date.now(), used: performance.now(), waiting: new Map() });
    prune();
    port.postMessage({ lost });
    if (data.run && !pulses.has(data.run)) {
      pulses.set(data.run, pulse(data.cord, data.run, (found) => {
        for (const [other, tab] of tabs) if (tab.run === data.run) other.postMessage({ pulse: found });
      }));
    }
    if (data.run && !places.has(data.run)) {
      places.set(data.run, data.cursor);
      open();
    } else if (!source) open();
  };
};

// @ts-ignore: the global scope of a shared worker
self.onconnect = (event) => welcome(event.ports[0]);
