// @ts-check
// Elements, numbers and times. Text goes in as text, always.

/**
 * @param {string} tag @param {Record<string, any>} [facts] attributes; functions become listeners
 * @param {...(Node | string | null | undefined)} children @returns {HTMLElement}
 */
export const el = (tag, facts = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child != null).map((child) => /** @type {Node | string} */ (child)));
  return node;
};

/** @param {string} id @returns {HTMLElement} */
export const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {number | null | undefined} value */
export const amount = (value) => {
  if (value == null) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-3)) return value.toExponential(2).replace("e+", "e");
  return value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 });
};

/** HH:MM:SS of an RFC 3339 time, in UTC. @param {string} time */
export const clock = (time) => time.slice(11, 19);

/** 0:12, 3:05, 2:10:00. @param {number} seconds */
export const duration = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}` : `${m}:${String(s).padStart(2, "0")}`;
};

/** Is somebody writing, so that keys are letters? @param {Event} event */
export const writing = (event) =>
  event.target instanceof HTMLElement && event.target.closest("input:not([type=checkbox]), textarea, select") !== null;

/** @param {string[]} names */
export const listed = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);
