// @ts-check
// The samples as they come: newest first, a window of them in the page, and a queue for reviewers with keys.

import { ask } from "./bus.js";
import { diff } from "./diff.js";
import { clock, writing } from "./dom.js";
import { Component, h } from "./vendor/preact.mjs";

/** @typedef {import("./bus.js").Sample} Sample */

export const WINDOW = 200;
/** Between two drawings of the list: at least, at most, and so many times as long as a drawing takes, so that keys and cord come first. */
const DRAW_MS = 200;
const MOST_MS = 2_000;
const REST = 8;
/** So many new rows are drawn at once: while they are, nobody's key is heard. */
const AT_ONCE = 50;
const SHORT = 700;
const SHORT_LINES = 10;
/** Texts that share less than this are shown one below the other: their words in one text would be confetti. */
const ALIKE = 0.4;

/**
 * @typedef {{run: string, first: Sample[], last: number, role: string, ready: (me: Samples) => void}} Props
 * @typedef {{rows: Sample[], paused: boolean, chosen: number | null, filter: string, order: "newest" | "ranked",
 *   open: Set<number>, verdicts: Record<number, string>, before: Record<number, Sample | null>, noting: number | null,
 *   said: string, found: Sample[] | null, layer: boolean}} State
 * @extends {Component<Props, State>}
 */
export class Samples extends Component {
  /** @param {Props} props */
  constructor(props) {
    super(props);
    /** @type {Sample[]} */ this.window = props.first.slice(0, WINDOW);
    this.last = props.last;
    this.seen = 0;
    this.gaps = 0;
    this.drawn = 0;
    this.cost = 0;
    this.timer = 0;
    this.behind = false;
    /** @type {State} */
    this.state = { rows: this.window, paused: false, chosen: null, filter: "", order: "newest", open: new Set(),
      verdicts: {}, before: {}, noting: null, said: "", found: null, layer: false };
    this.key = this.key.bind(this);
  }

  componentDidMount() { this.props.ready(this); addEventListener("keydown", this.key); this.again = setInterval(() => this.seek(), 3_000); }
  componentWillUnmount() { removeEventListener("keydown", this.key); clearInterval(this.again); }

  /**
   * New samples, oldest first. What this page has already is left out; what it missed is asked for.
   * @param {Sample[]} fresh @param {number} [first] where they began, if those that no page would show were left out
   */
  async take(fresh, first) {
    const rows = fresh.filter((row) => row.seq > this.last);
    if (!rows.length) return;
    const began = first ?? rows[0].seq;
    if (rows[0].seq > began) this.seen += rows[0].seq - 1 - Math.max(this.last, began - 1);
    if (Math.min(began, rows[0].seq) > this.last + 1) {
      this.gaps++;
      const missed = await ask(`/api/r/${this.props.run}/samples?after=${this.last}`);
      rows.unshift(...missed.filter((/** @type {Sample} */ row) => row.seq > this.last && row.seq < began));
    }
    this.last = rows[rows.length - 1].seq;
    this.seen += rows.length;
    this.window = [...rows.slice(-WINDOW).reverse(), ...this.window].slice(0, WINDOW);
    this.schedule();
  }

  schedule() {
    if (this.timer) return;
    const rest = Math.max(this.behind ? 0 : DRAW_MS, Math.min(MOST_MS, REST * this.cost));
    this.timer = setTimeout(() => requestAnimationFrame(() => {
      this.timer = 0;
      const began = performance.now();
      const over = () => {
        this.drawn = performance.now();
        this.cost = this.drawn - began;
        if (this.behind) this.schedule();
      };
      const count = document.getElementById("samples-count");
      if (count) {
        count.textContent = `${this.last.toLocaleString("en")} so far`;
        count.dataset.seen = String(this.seen);
      }
      const rows = this.still() ? null : this.next();
      this.behind = rows !== null && rows[0] !== this.window[0];
      if (rows) this.setState({ rows, said: "" }, over);
      else this.setState({ said: `${this.last - (this.state.rows[0]?.seq ?? this.last)} newer ones wait` }, over);
    }), Math.max(0, rest - (performance.now() - this.drawn)));
  }

  /** What to draw now: at most AT_ONCE rows more; where even that does not keep up, the newest. */
  next() {
    const { rows } = this.state;
    const fresh = this.window.filter((row) => row.seq > (rows[0]?.seq ?? -1)).length;
    if (fresh <= AT_ONCE) return this.window;
    if (fresh < WINDOW) return this.window.slice(fresh - AT_ONCE);
    return [...this.window.slice(0, AT_ONCE), ...rows].slice(0, WINDOW);
  }

  /** Does the view hold still? Always while one sample is chosen, so that it does not slide away under a decision. */
  still() { return this.state.paused || this.state.chosen !== null || this.state.filter !== "" || this.state.order !== "newest"; }

  /** What the filter or the order finds among all samples kept, not only those in the page. */
  async seek() {
    const { filter, order } = this.state;
    if (!filter && order === "newest") return;
    const query = new URLSearchParams({ text: filter, ranked: order === "ranked" ? "1" : "0", most: "100" });
    const found = await ask(`/api/r/${this.props.run}/samples?${query}`).catch(() => null);
    if (found) this.setState({ found });
  }

  get shown() { return this.state.found ?? this.state.rows; }

  /** @param {number} by */
  move(by) {
    const rows = this.shown;
    const place = rows.findIndex((row) => row.seq === this.state.chosen);
    const next = rows[Math.max(0, Math.min(rows.length - 1, place < 0 ? 0 : place + by))];
    if (!next) return;
    this.setState({ chosen: next.seq, noting: null }, () => {
      const row = document.getElementById(`s${next.seq}`);
      row?.scrollIntoView({ block: "nearest" });
      row?.focus({ preventScroll: true });
    });
  }

  /** @param {string} verdict @param {string} [note] */
  async judge(verdict, note = "") {
    const seq = this.state.chosen;
    if (seq === null || this.props.role === "reader") return;
    this.setState({ verdicts: { ...this.state.verdicts, [seq]: "…" } });
    try {
      await ask(`/api/r/${this.props.run}/reviews`, { seq, verdict, note });
      this.setState({ verdicts: { ...this.state.verdicts, [seq]: verdict } });
      if (verdict !== "note") this.move(1);
    } catch (error) {
      this.setState({ verdicts: { ...this.state.verdicts, [seq]: "not kept" }, said: String(error) });
    }
  }

  /** @param {number} seq */
  async compare(seq) {
    if (seq in this.state.before) {
      const { [seq]: _closed, ...rest } = this.state.before;
      this.setState({ before: rest });
      return;
    }
    const found = await ask(`/api/r/${this.props.run}/samples/${seq}/before`);
    this.setState({ before: { ...this.state.before, [seq]: found } });
  }

  /** @param {number} seq */
  note(seq) {
    this.setState({ noting: seq }, () => /** @type {HTMLElement | null} */ (document.querySelector(".noting input"))?.focus());
  }

  /** @param {number} seq */
  toggle(seq) {
    const open = new Set(this.state.open);
    if (!open.delete(seq)) open.add(seq);
    this.setState({ open });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (writing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { chosen } = this.state;
    /** @type {Record<string, () => void>} */
    const keys = {
      j: () => this.move(1), k: () => this.move(-1),
      h: () => this.setState({ paused: !this.state.paused }),
      s: () => this.setState({ layer: !this.state.layer }),
      Escape: () => this.setState({ chosen: null, noting: null, rows: this.window }),
    };
    if (chosen !== null) {
      Object.assign(keys, {
        " ": () => this.judge("fine"), f: () => this.judge("flag"), n: () => this.note(chosen),
        d: () => this.compare(chosen), e: () => this.toggle(chosen),
      });
      if (event.key === " " && event.target instanceof HTMLElement && event.target.closest("button")) return;
    }
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  render() {
    const { paused, filter, order, said, chosen, open, verdicts, noting, before, layer } = this.state;
    return h("div", null,
      h("div", { class: "tools", role: "toolbar", "aria-label": "Samples" },
        h("button", { type: "button", "aria-pressed": String(paused), onClick: () => this.setState({ paused: !paused, rows: this.window }) },
          paused ? "Go on" : "Hold still", h("kbd", { "aria-hidden": "true" }, "H")),
        h("button", { type: "button", "aria-pressed": String(layer), title: "How surprising the model found each token, as the trainer claims",
          onClick: () => this.setState({ layer: !layer }) }, "Surprisal", h("kbd", { "aria-hidden": "true" }, "S")),
        h("input", { type: "search", placeholder: "Filter all samples", "aria-label": "Filter all samples", value: filter,
          onInput: (/** @type {any} */ event) => this.setState({ filter: event.target.value, found: null }, () => this.seek()) }),
        h("select", { "aria-label": "Order", value: order,
          onChange: (/** @type {any} */ event) => this.setState({ order: event.target.value, found: null }, () => this.seek()) },
          h("option", { value: "newest" }, "uniform: newest first"),
          h("option", { value: "ranked" }, "by signs of risk")),
        h("span", { class: "count", role: "status" }, said)),
      h("p", { class: "keys" }, ...[["J", "next"], ["K", "previous"], ["Space", "fine"], ["F", "flag"], ["N", "note"], ["D", "compare"], ["E", "expand"], ["Esc", "follow"]]
        .map(([key, what]) => h("span", null, h("kbd", null, key), what))),
      h("ol", { class: "samples" }, this.shown.map((row) => h(Row, { key: row.seq, row, list: this, mine: chosen === row.seq,
        open: open.has(row.seq), verdict: verdicts[row.seq], noting: noting === row.seq, before: before[row.seq], layer }))),
      this.shown.length ? null : h("p", { class: "none" }, this.state.found ? "No sample fits." : "No sample has come yet."));
  }
}

/**
 * One sample. Drawn again only when something about it changes: most of the list is the same a moment later.
 * @typedef {{row: Sample, list: Samples, mine: boolean, open: boolean, verdict?: string, noting: boolean, before?: Sample | null, layer: boolean}} RowProps
 * @extends {Component<RowProps, {}>}
 */
class Row extends Component {
  /** @param {RowProps} next */
  shouldComponentUpdate(next) {
    return /** @type {(keyof RowProps)[]} */ (["row", "mine", "open", "verdict", "noting", "before", "layer"]).some((name) => next[name] !== this.props[name]);
  }

  render() {
    const { row, list, mine, open, verdict, noting, before, layer } = this.props;
    const brief = row.text.split("\n").slice(0, SHORT_LINES).join("\n").slice(0, SHORT);
    const cut = brief.length < row.text.trimEnd().length;
    const long = cut && !open;
    const text = long ? brief : row.text;
    const signs = /** @type {string[]} */ (JSON.parse(row.signs));
    const choose = () => { if (!mine) list.setState({ chosen: row.seq }); };
    return h("li", { id: `s${row.seq}`, class: "sample", tabIndex: mine ? 0 : -1, "aria-current": mine ? "true" : null, "data-verdict": verdict, onClick: choose },
      h("header", null,
        h("span", null, `step ${row.step.toLocaleString("en")}`),
        h("span", { class: "stratum" }, "uniform"),
        ...signs.map((sign) => h("span", { class: "sign", key: sign }, sign)),
        h("time", null, clock(row.time)),
        verdict ? h("span", { class: "verdict" }, verdict) : null),
      before !== undefined ? compared(row, before)
        : h("pre", { class: "claim" }, h("b", null, row.prompt), ...(layer && row.bits ? shaded(text, row.bits) : [text]), long ? h("span", { class: "cut" }, ` … ${(row.text.length - brief.length).toLocaleString("en")} more characters`) : null),
      mine ? h("footer", null,
        h("button", { type: "button", onClick: () => list.judge("fine") }, "Fine"),
        h("button", { type: "button", onClick: () => list.judge("flag") }, "Flag"),
        h("button", { type: "button", onClick: () => list.note(row.seq) }, "Note"),
        h("button", { type: "button", onClick: () => list.compare(row.seq) }, before !== undefined ? "Close comparison" : "Compare"),
        cut ? h("button", { type: "button", onClick: () => list.toggle(row.seq) }, long ? "Expand" : "Shorten") : null) : null,
      noting ? h(Note, { list }) : null);
  }
}

/** The text in its tokens, each the darker the less the model expected it: below 1, 3, 6, 10 bits, and above.
 * @param {string} text @param {string} bits */
const shaded = (text, bits) => {
  let at = 0;
  return /** @type {[number, number][]} */ (JSON.parse(bits)).map(([size, value], i) => {
    const piece = text.slice(at, at += size);
    return h("span", { key: i, class: `bits${[1, 3, 6, 10].filter((most) => value >= most).length}`, title: `${value} bits` }, piece);
  });
};

/** What a reviewer writes about a sample. @param {{list: Samples}} props */
const Note = ({ list }) => h("form", { class: "noting", onSubmit: (/** @type {any} */ event) => {
  event.preventDefault();
  list.judge("note", event.target.elements.note.value);
  list.setState({ noting: null });
} },
h("input", { name: "note", "aria-label": "Note on this sample", maxLength: 2000,
  onKeyDown: (/** @type {any} */ event) => { if (event.key === "Escape") list.setState({ noting: null }); } }),
h("button", { type: "submit" }, "Keep"));

/** @param {Sample} row @param {Sample | null} old */
const compared = (row, old) => {
  if (!old) return h("pre", { class: "claim" }, h("b", null, row.prompt), row.text, h("span", { class: "cut" }, " nothing was written to this prompt in the tenth before"));
  const parts = diff(old.text, row.text);
  const kept = parts.reduce((sum, part) => sum + (part.kind === "same" ? part.text.trim().length : 0), 0);
  if (kept < ALIKE * row.text.length) {
    return h("div", null, h("p", { class: "then" }, `in the tenth before, step ${old.step.toLocaleString("en")}`),
      h("pre", { class: "claim was" }, h("b", null, old.prompt), old.text), h("p", { class: "then" }, "now"), h("pre", { class: "claim" }, h("b", null, row.prompt), row.text));
  }
  return h("pre", { class: "claim" }, h("b", null, row.prompt),
    ...parts.map((part, i) => h(part.kind === "same" ? "span" : part.kind === "gone" ? "del" : "ins", { key: i }, part.text)));
};
