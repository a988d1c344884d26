// @ts-check
// Is the cord of a run live? One question at a time for a whole browser: the cord's port has room for the pull itself, always.

const ROUND_MS = 1_500;
const PATIENCE_MS = 4_500;

/** @typedef {{run: string, reached: boolean, live: boolean, held: boolean, round: number}} Pulse */

/**
 * Ask again and again, one question at a time. Returns what ends it.
 * @param {string} cord origin of the cord's server @param {string} run @param {(pulse: Pulse) => void} heard
 */
export const pulse = (cord, run, heard) => {
  let over = false;
  let timer = 0;
  const round = async () => {
    const began = performance.now();
    /** @type {Pulse} */
    const found = { run, reached: false, live: false, held: true, round: 0 };
    try {
      const answer = await fetch(`${cord}/cord/${encodeURIComponent(run)}/alive`, { credentials: "include", signal: AbortSignal.timeout(PATIENCE_MS) });
      const { live, held } = await answer.json();
      Object.assign(found, { live, held, reached: answer.ok });
      found.round = Math.round(performance.now() - began);
    } catch { /* said by its silence */ }
    if (over) return;
    heard(found);
    timer = setTimeout(round, Math.max(0, ROUND_MS - (performance.now() - began)));
  };
  round();
  return () => { over = true; clearTimeout(timer); };
};
