// @ts-check
// What two texts have in common, word by word: the longest common subsequence, as far as texts of a page need it.

const MOST = 1_500;

/**
 * @param {string} before @param {string} after
 * @returns {{kind: "same" | "gone" | "new", text: string}[]}
 */
export const diff = (before, after) => {
  const a = before.split(/(\s+)/).slice(0, MOST);
  const b = after.split(/(\s+)/).slice(0, MOST);
  const wide = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * wide + j] = a[i] === b[j]
        ? longest[(i + 1) * wide + j + 1] + 1
        : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
    }
  }
  /** @type {{kind: "same" | "gone" | "new", text: string}[]} */
  const out = [];
  const put = (/** @type {"same" | "gone" | "new"} */ kind, /** @type {string} */ text) => {
    const last = out.at(-1);
    if (last?.kind === kind) last.text += text;
    else if (text) out.push({ kind, text });
  };
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { put("same", b[j]); i++; j++; }
    else if (j >= b.length || (i < a.length && longest[(i + 1) * wide + j] >= longest[i * wide + j + 1])) put("gone", a[i++]);
    else put("new", b[j++]);
  }
  return out;
};
