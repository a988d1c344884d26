// @ts-check
// The curves: least, greatest and mean of every bucket, so that no spike is hidden. Drag to zoom, double click to go back.

import { ask } from "./bus.js";
import { amount, el } from "./dom.js";
import uPlot from "./vendor/uPlot.esm.js";

const REFRESH_MS = 2_500;
const SHOWN = 4;
const LABELS = /** @type {Record<string, string>} */ ({
  lr: "learning rate", learning_rate: "learning rate", grad_norm: "gradient norm", gradient_norm: "gradient norm",
  tokens_per_second: "tokens per second", "tenth/device_seconds": "device-seconds (metered)", "tenth/gate": "gate", "tenth/halts": "halts",
});

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** One curve. */
class Curve {
  /** @param {string} run @param {string} series @param {HTMLElement} place */
  constructor(run, series, place) {
    this.run = run;
    this.series = series;
    this.place = place;
    /** @type {[number, number] | null} */ this.zoom = null;
    /** @type {any} */ this.plot = null;
    this.stamp = "";
    /** @type {ResizeObserver | null} */ this.watch = null;
    this.said = el("span", { class: "count" });
    this.box = el("div", { class: "plot" });
    place.replaceChildren(el("h3", {}, LABELS[series] ?? series, this.said), this.box);
    this.box.addEventListener("dblclick", () => { this.zoom = null; this.refresh(); });
  }

  async refresh() {
    const query = new URLSearchParams({ series: this.series });
    if (this.zoom) { query.set("first", String(Math.max(0, Math.floor(this.zoom[0])))); query.set("last", String(Math.ceil(this.zoom[1]))); }
    const found = await ask(`/api/r/${this.run}/curve?${query}`).catch(() => null);
    if (!found) return; // the server is away: the strip says so, and the next round asks again
    const stamp = `${found.step.length}:${found.points}:${found.mean.at(-1)}:${this.zoom}`;
    if (stamp === this.stamp || !found.step.length) return;
    this.stamp = stamp;
    this.said.textContent = `${amount(found.mean.at(-1))}${this.zoom ? " · zoomed" : ""}`;
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-label", `${LABELS[this.series] ?? this.series}: ${amount(Math.min(...found.least))} to ${amount(Math.max(...found.greatest))}, now ${amount(found.mean.at(-1))}`);
    const data = [found.step, found.greatest, found.least, found.mean];
    if (this.plot) this.plot.setData(data);
    else this.draw(data);
  }

  /** @param {number[][]} data */
  draw(data) {
    const accent = colour("--accent");
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 46 };
    this.plot = new uPlot({
      width: Math.max(200, this.box.clientWidth), height: 128, legend: { show: false },
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false } },
      scales: { x: { time: false } },
      axes: [{ ...axis, size: 24 }, { ...axis, values: (/** @type {any} */ _u, /** @type {number[]} */ values) => values.map(amount) }],
      series: [{}, { stroke: "transparent" }, { stroke: "transparent" }, { stroke: accent, width: 1.5, points: { show: false } }],
      bands: [{ series: [1, 2], fill: `${accent}40` }],
      hooks: { setSelect: [(/** @type {any} */ plot) => {
        if (plot.select.width < 4) return;
        this.zoom = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        this.refresh();
      }] },
    }, data, this.box);
    this.watch ??= new ResizeObserver(() => this.plot?.setSize({ width: Math.max(200, this.box.clientWidth), height: 128 }));
    this.watch.observe(this.box);
  }

  redraw() {
    this.plot?.destroy();
    this.plot = null;
    this.stamp = "";
    this.refresh();
  }
}

/** @param {string} run @param {string[]} names @param {HTMLElement} place */
export const curves = (run, names, place) => {
  /** @type {Curve[]} */
  const drawn = [];
  /** @param {string} name */
  const add = (name) => {
    const box = el("section", { class: "curve" });
    place.append(box);
    const curve = new Curve(run, name, box);
    drawn.push(curve);
    curve.refresh();
  };
  const known = new Set();
  const rest = el("select", { "aria-label": "Show another curve" });
  rest.addEventListener("change", () => {
    const chosen = /** @type {HTMLSelectElement} */ (rest).value;
    if (chosen) { add(chosen); rest.querySelector(`[value="${CSS.escape(chosen)}"]`)?.remove(); }
  });
  /** @param {string[]} all */
  const learn = (all) => {
    for (const name of all) {
      if (known.has(name)) continue;
      known.add(name);
      if (drawn.length < SHOWN && !name.startsWith("tenth/gate") && !name.startsWith("tenth/halts")) add(name);
      else {
        if (!rest.isConnected) { rest.append(el("option", { value: "" }, "more curves")); place.after(rest); }
        rest.append(el("option", { value: name }, LABELS[name] ?? name));
      }
    }
  };
  learn(names);
  setInterval(async () => {
    if (document.hidden) return;
    if (drawn.length < SHOWN) learn(await ask(`/api/r/${run}/series`).catch(() => []));
    await Promise.all(drawn.map((curve) => curve.refresh()));
  }, REFRESH_MS);
  addEventListener("themed", () => drawn.forEach((curve) => curve.redraw()));
};
