// @ts-check
// Does an entry stand in the log? Computed here, in the browser, from its bytes: leaf, path, root, signature of the head.

/** @param {string} text */
const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
/** @param {Uint8Array} data */
export const hex = (data) => [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");
/** @param {...(Uint8Array | number[])} parts */
const sha256 = async (...parts) => {
  const all = new Uint8Array(parts.flatMap((part) => [...part]));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", all));
};

/**
 * @param {{index: number, line: string, path: string[], head: string, log_key: string}} entry
 * @returns {Promise<{holds: boolean, leaf: string, root: string, size: number, why: string}>}
 */
export const prove = async (entry) => {
  const [origin, size, root, , signed] = entry.head.split("\n");
  const leaf = await sha256([0], new TextEncoder().encode(entry.line));
  // RFC 9162, section 2.1.3.2
  let [fn, sn, r] = [entry.index, Number(size) - 1, leaf];
  let whole = true;
  for (const part of entry.path.map(bytes)) {
    if (sn === 0) whole = false;
    if (fn & 1 || fn === sn) {
      r = await sha256([1], part, r);
      while (!(fn & 1) && fn !== 0) { fn >>= 1; sn >>= 1; }
    } else r = await sha256([1], r, part);
    fn >>= 1;
    sn >>= 1;
  }
  const facts = { leaf: hex(leaf), root: hex(r), size: Number(size) };
  if (!whole || sn !== 0 || hex(r) !== hex(bytes(root))) return { holds: false, ...facts, why: "the path does not lead to the signed root" };
  const raw = bytes(entry.log_key.split(" ")[1]).slice(-32);
  const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  const signature = bytes(signed.split(" ")[2]).slice(4);
  const text = new TextEncoder().encode(`${origin}\n${size}\n${root}\n`);
  const sound = await crypto.subtle.verify("Ed25519", key, signature, text);
  return { holds: sound, ...facts, why: sound ? "" : "the head is not signed by the log's key" };
};
