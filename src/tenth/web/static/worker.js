// @ts-check
// One event stream for all tabs of this browser: a browser opens six connections to one port, and tabs are many.
// Each tab says which run it shows and how far it has read; what comes is handed to every tab of that run.

/** @typedef {{run: string | null, seen: number}} Tab */

/** @type {Map<MessagePort, Tab>} */
const tabs = new Map();
/** How far each run that somebody looks at was read. @type {Map<string, [number, number]>} */
const places = new Map();
/** @type {EventSource | null} */
let source = null;
let lost = false;
let retry = 0;
/** A tab that said nothing for so long is gone: tabs in the background are heard once a minute. */
const GONE = 150_000;

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
    /** @type {{run: string, cursor?: [number, number]}[]} */
    const messages = JSON.parse(event.data);
    for (const message of messages) {
      if (message.cursor && places.has(message.run)) places.set(message.run, message.cursor);
    }
    for (const [port, tab] of tabs) {
      const his = messages.map((message) => (message.run === tab.run || !("cursor" in message) ? message : brief(message)));
      port.postMessage({ messages: his });
    }
  };
};

/** What other pages need of a run: where it stands. @param {Record<string, unknown>} message */
const brief = ({ entries: _entries, samples: _samples, cursor: _cursor, ...rest }) => rest;

const prune = () => {
  for (const [port, tab] of tabs) if (Date.now() - tab.seen > GONE) tabs.delete(port);
  for (const run of places.keys()) if (![...tabs.values()].some((tab) => tab.run === run)) places.delete(run);
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
    const known = tabs.has(port);
    tabs.set(port, { run: data.run, seen: Date.now() });
    if (known) return;
    prune();
    port.postMessage({ lost });
    if (data.run && !places.has(data.run)) {
      places.set(data.run, data.cursor);
      open();
    } else if (!source) open();
  };
};

// @ts-ignore: the global scope of a shared worker
self.onconnect = (event) => welcome(event.ports[0]);

export {};
