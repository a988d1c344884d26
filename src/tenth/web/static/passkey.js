// @ts-check
// Passkeys: make one, as a line for the charter, and sign a statement with it. The statement is looked at before it is signed.

const encoder = new TextEncoder();

/** @param {...(Uint8Array | ArrayBuffer)} parts */
const joined = (...parts) => new Uint8Array(parts.flatMap((part) => [...new Uint8Array(part)]));
/** @param {Uint8Array} data */
const b64 = (data) => btoa([...data].map((byte) => String.fromCharCode(byte)).join(""));
/** A length and the bytes, as SSH writes them. @param {Uint8Array} data */
const string = (data) => joined(new Uint8Array([0, 0, data.length >> 8, data.length & 255]), data);

/**
 * Make a passkey of this site for a person. Raises what the browser raises.
 * @param {string} name @returns {Promise<string>} the line for the charter, as OpenSSH writes such keys
 */
export const enrol = async (name) => {
  const site = location.hostname;
  const made = /** @type {PublicKeyCredential} */ (await navigator.credentials.create({ publicKey: {
    rp: { id: site, name: "tenth" },
    user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
    challenge: crypto.getRandomValues(new Uint8Array(32)),
    pubKeyCredParams: [{ type: "public-key", alg: -7 }],
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    attestation: "none",
  } }));
  const answer = /** @type {AuthenticatorAttestationResponse} */ (made.response);
  const spki = new Uint8Array(answer.getPublicKey() ?? new ArrayBuffer(0));
  const point = spki.slice(-65);
  if (answer.getPublicKeyAlgorithm() !== -7 || point[0] !== 4) throw new Error("this authenticator makes no P-256 keys");
  const kind = "sk-ecdsa-sha2-nistp256@openssh.com";
  const blob = joined(...[encoder.encode(kind), encoder.encode("nistp256"), point, encoder.encode(site)].map(string));
  return `${kind} ${b64(blob)} ${name}`;
};

/** The 32 bytes of a number in a DER signature. @param {Uint8Array} der @param {number} at @returns {[Uint8Array, number]} */
const integer = (der, at) => {
  const end = at + 2 + der[at + 1];
  const digits = der.slice(at + 2, end);
  const number = new Uint8Array(32);
  const kept = digits.slice(-32);
  number.set(kept, 32 - kept.length);
  return [number, end];
};

/**
 * Sign what the server drafted, if it says what it should.
 * @param {{payload: string, payloadType: string, keyid: string}} draft
 * @param {Record<string, unknown>} wanted what the statement must say: run, signatory, anchor, note
 * @param {string} predicateType @param {[string, string][] | null} subjects
 */
export const sign = async (draft, wanted, predicateType, subjects) => {
  const payload = Uint8Array.from(atob(draft.payload), (char) => char.charCodeAt(0));
  const said = JSON.parse(new TextDecoder().decode(payload));
  for (const [name, value] of Object.entries(wanted)) {
    if (JSON.stringify(said.predicate[name]) !== JSON.stringify(value)) throw new Error(`the draft says another ${name} than this page`);
  }
  if (said.predicateType !== predicateType) throw new Error("the draft is another kind of statement");
  const listed = said.subject.map((/** @type {any} */ one) => [one.name, one.digest.sha256]);
  if (subjects && JSON.stringify(listed) !== JSON.stringify(subjects)) throw new Error("the draft covers other digests than this page shows");
  const type = encoder.encode(draft.payloadType);
  const pae = joined(encoder.encode(`DSSEv1 ${type.length} `), type, encoder.encode(` ${payload.length} `), payload);
  const challenge = await crypto.subtle.digest("SHA-256", pae);
  const got = /** @type {PublicKeyCredential} */ (await navigator.credentials.get({ publicKey: {
    challenge, rpId: location.hostname, userVerification: "required",
  } }));
  const answer = /** @type {AuthenticatorAssertionResponse} */ (got.response);
  const der = new Uint8Array(answer.signature);
  const [r, next] = integer(der, 2);
  const [s] = integer(der, next);
  const sig = b64(joined(answer.authenticatorData, r, s, answer.clientDataJSON));
  return { payload: draft.payload, payloadType: draft.payloadType, signatures: [{ keyid: draft.keyid, sig }] };
};
