// What the library does with an evidence bundle of single receipts, with the same codes: see `tacit_receipts::verify`.

const BUNDLE_BYTES_MAX = 256 << 20, TRUST_BYTES_MAX = 1 << 20, LEAF_BYTES_MAX = 60000, ATTESTATION_BYTES_MAX = 8192;
const NOTE_BYTES_MAX = 65536, SIGNATURES_MAX = 128, WITNESSES_MAX = 64, PARTIES_MAX = 4096, PAPERS_MAX = 4096, SEATS_MAX = 1024, CONVICTIONS_MAX = 16, FIGURES_MAX = 8;
const LINES_MAX = 8 * SEATS_MAX, SIGHTINGS_MAX = 2 * SEATS_MAX, LOG_KEYS_MAX = 64, OVERLAP_MAX = 7776000000n, DISCLOSURE_BYTES_MAX = 256, TREE_SIZE_MAX = 1n << 62n, SKEW = 300000n;

const code = (item) => (str(item) in CODES ? item : wrong('an unknown code'));
const units = ['job', 'party', 'cell_in', 'cell_out', 'cell_suppressed', 'payload_byte', 'row_scanned', 'call', 'row_asked', 'cpu_ms', 'memory_byte'];
const SINGLE = new Set(['job', 'party', 'cell_out', 'cell_suppressed', 'call', 'row_asked']);
const classOf = (unit) => ({ job: 'B', row_scanned: 'C', cpu_ms: 'C', memory_byte: 'C' })[unit] ?? 'A';
const role = index('input', 'compute', 'result');
const quantity = (item) => (item instanceof Uint8Array ? { committed: id(item) } : { plain: u64(item) });
/** A key in hex, or `parties` for all that took part. */
const audience = (item) => (item === 0n ? 'parties' : id(item));
/** A number that is left out when it is zero. */
const above = (of) => (item) => of(item) || wrong('a zero that is left out');
/** A list that is left out when it is empty. */
const some = (of) => (item) => { const out = of(item); return out.length ? out : wrong('an empty list'); };

const PARTY_KEY = map({ 1: ['name', name], 2: ['key', id], 3: ['from', u64], 4: ['until', optional(u64)] });
const TRUST = map({
  1: ['version', u32], 2: ['origin', str], 3: ['coordinator', id], 4: ['logKey', str], 5: ['witnesses', list(str)],
  6: ['quorum', u32], 7: ['parties', list(PARTY_KEY)], 8: ['rotations', optional(list(bstr))],
  9: ['partyRotations', optional(some(list(bstr)))],
});
const PROVEN = map({ 1: ['index', u64], 2: ['leaf', bstr], 3: ['proof', list((item) => (id(item), item))] });
const BUNDLE = map({
  1: ['version', u32], 2: ['trust', optional(TRUST)], 3: ['checkpoint', bstr], 4: ['leaves', list(bstr)],
  5: ['proven', list(PROVEN)], 6: ['beside', list(bstr)], 7: ['kept', list(bstr)], 8: ['promises', list(bstr)],
  9: ['papers', optional(some(list(bstr)))],
});
const RECORD = map({
  1: ['version', u32], 2: ['origin', str], 3: ['job', id], 4: ['spec', id], 5: ['contracts', list(id)], 6: ['kind', name],
  7: ['status', choice(
    ['ok'],
    ['aborted', { 1: ['code', code], 2: ['step', optional(u32)], 3: ['seat', optional(u16)] }],
    ['refused', { 1: ['code', code], 2: ['seat', optional(u16)] }],
  )],
  8: ['parties', list(map({
    1: ['party', id], 2: ['role', role], 3: ['dataset', optional(id)], 4: ['rights', optional(id)], 5: ['name', name],
    6: ['standing', choice(['took_part'], ['dropped', { 1: ['step', u32] }], ['silent'])],
  }))],
  9: ['lines', list(map({
    1: ['unit', index(...units)], 2: ['party', u16], 3: ['quantity', quantity], 4: ['class', index('A', 'B', 'C')],
    5: ['observers', list(u16)], 6: ['differing', optional(some(list(map({ 1: ['seat', u16], 2: ['quantity', u64] }))))],
  }))],
  10: ['privacy', list(map({ 1: ['dataset', id], 2: ['mechanism', name], 3: ['epsilon', u64], 4: ['delta', optional(above(u64))] }))],
  11: ['algorithm', optional(id)], 12: ['result', optional(id)], 13: ['transcripts', list(id)], 14: ['started', u64],
  15: ['ended', u64], 16: ['disclosures', list(map({ 1: ['what', str], 2: ['to', audience], 3: ['cardinality', u64] }))],
  17: ['attempt', u32],
  18: ['convictions', optional(some(list(map({ 1: ['seat', u16], 2: ['offence', str], 3: ['evidence', id] }))))],
  19: ['links', optional(some(list(map({
    1: ['seat', u16], 2: ['root', id], 3: ['differing', optional(some(list(u16)))], 4: ['unsealed', optional(above(u16))],
  }))))],
});
const RECEIPT = map({
  1: ['record', RECORD], 2: ['attestations', list(bstr)], 3: ['pricePlan', optional(id)], 4: ['charges', optional(id)],
  5: ['absent', list(map({ 1: ['party', id], 2: ['code', code] }))],
});
const ATTESTATION = map({
  1: ['usage', id], 2: ['role', role], 3: ['verdict', choice(['agrees'], ['disputes', { 1: ['code', code] }])],
  4: ['own', list(map({ 1: ['line', u32], 2: ['commitment', id] }))], 5: ['transcript', optional(id)],
  6: ['quota', optional(id)], 7: ['seen', optional(map({ 1: ['size', u64], 2: ['root', id] }))],
  8: ['figures', optional(some(list(map({ 1: ['what', u8], 2: ['commitment', id] }))))],
});
const GENESIS = map({ 1: ['version', u32], 2: ['origin', str], 3: ['policy', str], 4: ['continues', optional(id)] });
const KEY_EVENT = map({
  1: ['version', u32], 2: ['coordinator', id], 3: ['logKey', str], 4: ['witnesses', list(str)], 5: ['quorum', u32],
  6: ['parties', list(map({ 1: ['name', name], 2: ['key', id] }))],
});
const MEMO = map({ 1: ['version', u32], 2: ['origin', str], 3: ['number', u64], 4: ['tag', id], 5: ['sealed', optional(bstr)] });
const KEY_ROTATION = map({
  1: ['version', u32], 2: ['origin', str], 3: ['old', id], 4: ['new', id], 5: ['from', u64], 6: ['until', u64],
  7: ['consent', optional(bstr)],
});

/** The header and body of a COSE_Sign1 (RFC 9052) whose signature holds. */
async function envelope(bytes) {
  const malformed = (what) => { throw new Fault('receipt.malformed', `not a signed statement: ${what}`); };
  let outer, header, protectedBytes, payload, signature;
  try {
    outer = cbor(bytes);
    [protectedBytes, , payload, signature] = outer.value;
    header = cbor(bstr(protectedBytes), false);
    bstr(payload);
    bstr(signature);
    if (outer.tag !== 18n || outer.value.length !== 4 || !(header instanceof Pairs)) wrong('');
    if (!(outer.value[1] instanceof Pairs) || outer.value[1].pairs.length) wrong('');
  } catch (error) {
    malformed('not a tagged COSE_Sign1 with an empty unprotected header');
  }
  const labels = header.pairs.map(([label]) => label);
  const known = [1n, 3n, 4n, 15n, -70001n, -70002n];
  if (labels.some((l) => !known.includes(l)) || new Set(labels).size !== labels.length) malformed('an unknown header field');
  if (![-8n, -19n].includes(header.get(1n))) malformed('the algorithm is not Ed25519');
  const kind = /^application\/vnd\.tacit\.(.*)\+cbor$/s.exec(header.get(3n))?.[1];
  if (kind === undefined) malformed('another content type');
  const key = header.get(4n);
  if (!(key instanceof Uint8Array) || key.length !== 32) malformed('a kid is 32 bytes');
  const claims = header.get(15n);
  if (!(claims instanceof Pairs)) malformed('no claims');
  if (claims.get(1n) !== hex(key)) malformed('the issuer is not the signing key');
  const [subject, issued] = [claims.get(2n), claims.get(6n)];
  if (typeof subject !== 'string' || typeof issued !== 'bigint' || issued < 0n) malformed('no subject, or no time of issue');
  const [seq, prev] = [header.get(-70001n), header.get(-70002n)];
  if ((seq === undefined) !== (prev === undefined)) malformed('seq and prev go together');
  if (seq !== undefined && (typeof seq !== 'bigint' || seq < 0n || !(prev instanceof Uint8Array) || prev.length !== 32)) {
    malformed('seq or prev');
  }
  if (signature.length !== 64) malformed('a signature is 64 bytes');
  const message = join(Uint8Array.of(0x84, 0x6a), utf8('Signature1'), head(protectedBytes), protectedBytes, Uint8Array.of(0x40), head(payload), payload);
  if (!(await signed(key, message, signature))) throw new Fault('receipt.signature', 'the signature does not verify');
  return { kind, signer: hex(key), subject, issued: issued * 1000n, linked: seq !== undefined, payload };
}

/** The head of a byte string. */
function head(bytes) {
  const n = bytes.length;
  if (n < 24) return Uint8Array.of(0x40 | n);
  if (n < 256) return Uint8Array.of(0x58, n);
  if (n < 65536) return Uint8Array.of(0x59, n >> 8, n & 255);
  return Uint8Array.of(0x5a, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255);
}

function body(schema, payload) {
  try {
    return schema(cbor(payload));
  } catch (error) {
    throw new Fault('receipt.malformed', `the body is ${error.message}`);
  }
}

/** A change of the log's key that its two keys signed. */
async function keyRotation(sealed) {
  const rotation = body(KEY_ROTATION, sealed.payload), { consent } = rotation;
  const wrongly = (what) => { throw new Fault('log.key_rotation', what); };
  if (rotation.version !== 1n || sealed.signer !== rotation.old || rotation.old === rotation.new) wrongly('its version or keys');
  if (rotation.until < rotation.from || rotation.until - rotation.from > OVERLAP_MAX) wrongly('the overlap');
  if (consent?.length !== 64) wrongly('the key that comes has not agreed');
  // What it agreed to is the map without its own signature, which is the last of seven fields.
  const terms = sealed.payload.slice(0, sealed.payload.length - head(consent).length - 65);
  terms[0] = 0xa6;
  const key = Uint8Array.from(rotation.new.match(/../g), (byte) => parseInt(byte, 16));
  if (!(await signed(key, join(utf8('tacit-key-rotation/1\0'), terms), consent))) wrongly('the key that comes has not agreed');
  return rotation;
}

/** Follows a change of the log's key from the keys that are known, oldest first; as `LogChain::follow` does. */
async function follow(chain, rotation, leaf) {
  const wrongly = (what) => { throw new Fault('log.key_rotation', what); };
  const [first] = chain, at = (key) => chain.findIndex((held) => hex(held.key) === key);
  if (rotation.origin !== first.name) wrongly('it is of another log');
  const named = async (key) => {
    const material = Uint8Array.from(`01${key}`.match(/../g), (byte) => parseInt(byte, 16));
    return { name: first.name, kind: 1, key: material.slice(1), id: (await sha256(utf8(first.name), Uint8Array.of(10), material)).slice(0, 4) };
  };
  const [before, after] = [at(rotation.old), at(rotation.new)];
  if (before >= 0 && after === before + 1) {
    const held = chain[after];
    if (held.from !== rotation.from || chain[before].until !== rotation.until) wrongly('the same keys at another time');
    held.leaf ??= leaf;
  } else if (chain.length >= LOG_KEYS_MAX) {
    wrongly('too many keys');
  } else if (before === chain.length - 1 && after < 0) {
    chain[before].until = rotation.until;
    chain.push({ ...(await named(rotation.new)), from: rotation.from, leaf });
  } else if (before < 0 && after === 0) {
    Object.assign(first, { from: rotation.from, leaf });
    chain.unshift({ ...(await named(rotation.old)), until: rotation.until });
  } else {
    wrongly('it does not follow');
  }
}

/** A key of the log in its text form. */
const vkey = (held) => `${held.name}+${hex(held.id)}+${btoa(String.fromCharCode(1, ...held.key))}`;

/** Follows statements in whatever order they come; the fault of one that does not follow, if any. */
async function followAll(chain, statements) {
  let left = [], fault;
  for (const bytes of statements.slice(0, LOG_KEYS_MAX)) {
    const sealed = await envelope(bytes);
    if (sealed.kind !== 'key-rotation') throw new Fault('receipt.malformed', 'a statement of another type');
    left.push(sealed);
  }
  for (let before = -1; left.length && left.length !== before;) {
    before = left.length;
    const unmet = [];
    for (const sealed of left) {
      try {
        await follow(chain, await keyRotation(sealed));
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        fault = error;
        unmet.push(sealed);
      }
    }
    left = unmet;
  }
  return left.length ? fault : null;
}

/** Why a key of the log did not hold when it signed a checkpoint that witnesses saw at `seen`, or -1 for none. */
function retired(chain, held, seen, size) {
  const next = chain[chain.indexOf(held) + 1];
  if (seen >= 0n && held.until !== undefined && seen > held.until) return `it held until ${held.until}`;
  if (seen < 0n && held.until !== undefined && !(next?.leaf !== undefined && size <= next.leaf)) return 'no witness says when it signed';
  if (seen >= 0n && held.from !== undefined && seen + SKEW < held.from) return `it holds from ${held.from}`;
  return null;
}

const plainName = (n) => n.length > 0 && utf8(n).length <= 255 && !/[\p{Cc}\p{White_Space}+]/u.test(n);

/** A C2SP verifier key: `NAME+HASH+BASE64`. */
async function verifierKey(string) {
  const [n, hash, ...rest] = string.split('+');
  const material = base64(rest.join('+'));
  if (!plainName(n) || material.length !== 33 || ![1, 4].includes(material[0])) wrong('not a verifier key');
  const keyId = (await sha256(utf8(n), Uint8Array.of(10), material)).slice(0, 4);
  if (hash !== hex(keyId)) wrong('the hash of a verifier key');
  return { name: n, kind: material[0], key: material.slice(1), id: keyId };
}

/** Reads a trust file's keys once, and checks them against each other. */
async function trusted(trust) {
  const unusable = (what) => { throw new Fault('receipt.bundle', what); };
  if (trust.version !== 1n || !plainName(trust.origin)) unusable('the trust file: its version or origin');
  if (trust.witnesses.length > WITNESSES_MAX || trust.parties.length > PARTIES_MAX) unusable('the trust file: too many keys');
  let log, witnesses;
  try {
    log = await verifierKey(trust.logKey);
    witnesses = await Promise.all(trust.witnesses.map(verifierKey));
  } catch (error) {
    unusable(`the trust file: ${error.message}`);
  }
  const twice = (values) => new Set(values).size !== values.length;
  if (log.kind !== 1 || witnesses.some((w) => w.kind !== 4)) unusable('the trust file: a key of another type');
  if (twice(witnesses.map((w) => w.name)) || twice(witnesses.map((w) => hex(w.key)))) unusable('the trust file: a witness twice');
  if (trust.quorum > BigInt(witnesses.length)) unusable('the trust file: the threshold is more than there are');
  const spans = trust.parties.map((p) => [p.key, p.from, p.until ?? (1n << 64n) - 1n]);
  spans.sort((a, b) => (a[0] !== b[0] ? (a[0] < b[0] ? -1 : 1) : a[1] < b[1] ? -1 : 1));
  const bad = ([key, from, until], i) => from >= until || (i > 0 && spans[i - 1][0] === key && from < spans[i - 1][2]);
  if (spans.some(bad)) unusable('the trust file: the interval of a key');
  const chain = [log];
  if (trust.rotations && (!trust.rotations.length || trust.rotations.length >= LOG_KEYS_MAX)) unusable("the trust file: its changes of the log's key");
  try {
    const fault = await followAll(chain, trust.rotations ?? []);
    if (fault) throw fault;
  } catch (error) {
    unusable(`the trust file: ${error.message}`);
  }
  const history = new History(trust.origin, trust.parties.map((p) => p.key), witnesses.map((w) => hex(w.key)), trust.coordinator);
  try {
    const fault = await history.take(trust.partyRotations ?? []);
    if (fault) throw fault;
  } catch (error) {
    unusable(`the trust file: ${error.message}`);
  }
  return { ...trust, chain, keys: witnesses, history };
}

/** A C2SP signed note: its text and signature lines. */
function note(bytes) {
  const malformed = (what) => { throw new Fault('log.malformed', `a checkpoint: ${what}`); };
  if (bytes.length > NOTE_BYTES_MAX) malformed('too long');
  let whole;
  try {
    whole = text(bytes);
  } catch (error) {
    malformed('not UTF-8');
  }
  const at = whole.lastIndexOf('\n\n');
  if (at < 0 || !whole.endsWith('\n') || at + 2 >= whole.length) malformed('no signatures');
  const plain = whole.slice(0, at + 1);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(plain)) malformed('a control character');
  const lines = whole.slice(at + 2, -1).split('\n').map((line) => {
    const [dash, n, encoded, ...more] = line.split(' ');
    let raw;
    try {
      raw = base64(encoded ?? '*');
    } catch (error) {
      malformed('a signature line');
    }
    if (dash !== '\u2014' || !plainName(n) || more.length || raw.length < 5) malformed('a signature line');
    return { name: n, id: raw.slice(0, 4), signature: raw.slice(4) };
  });
  if (lines.length > SIGNATURES_MAX) malformed('too many signatures');
  return { text: plain, lines };
}

/** The key's one line over a note: undefined without one, false when it does not hold, else its time (0 for a log). */
async function line(of, key) {
  const own = of.lines.filter((l) => l.name === key.name && same(l.id, key.id));
  if (own.length !== 1) return own.length ? false : undefined;
  const { signature } = own[0];
  if (key.kind === 1) return (await signed(key.key, utf8(of.text), signature)) ? 0n : false;
  if (signature.length !== 72) return false;
  const time = signature.slice(0, 8).reduce((n, byte) => (n << 8n) | BigInt(byte), 0n);
  const held = time >> 63n === 0n && (await signed(key.key, utf8(`cosignature/v1\ntime ${time}\n${of.text}`), signature.slice(8)));
  return held ? time * 1000n : false;
}

async function included(hash, at, size, proof, root) {
  let [node, last] = [at, size - 1n];
  if (at >= size) throw new Fault('log.proof', `leaf ${at} of ${size}: it lies outside the tree`);
  for (const sibling of proof) {
    if (last === 0n) throw new Fault('log.proof', `leaf ${at} of ${size}: the proof is too long`);
    if (node & 1n || node === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (!(node & 1n) && node !== 0n) [node, last] = [node >> 1n, last >> 1n];
    } else {
      hash = await sha256(Uint8Array.of(1), hash, sibling);
    }
    [node, last] = [node >> 1n, last >> 1n];
  }
  if (last !== 0n || hex(hash) !== root) throw new Fault('log.proof', `leaf ${at} of ${size}: the proof leads elsewhere`);
}

/** The usage lines on which observers differ. */
const disputedLines = (record) => record.lines.filter((l) => l.differing);

/** What is wrong with the lines that observers dispute; nothing when each says who counted what. */
function disputedFault(record) {
  const lines = disputedLines(record), { parties } = record;
  if (lines.length > 0 ? record.version < 3n : record.version === 3n) return `a disputed line, or none, in version ${record.version}`;
  if (lines.reduce((n, l) => n + l.differing.length, 0) > SIGHTINGS_MAX) return 'too many counts beside disputed lines';
  const observes = (l, seat) => parties[Number(seat)]?.standing.is === 'took_part' && seat !== l.party && (!l.observers.length || l.observers.includes(seat));
  for (const l of lines) {
    if (l.quantity.plain === undefined || l.class !== 'A' || record.status.is !== 'ok') return 'a disputed line that no party can have counted';
    if (l.differing.some((s, i) => i > 0 && l.differing[i - 1].seat >= s.seat)) return 'counts beside a disputed line out of order, or one twice';
    if (l.differing.some((s) => !observes(l, s.seat))) return 'a count beside a disputed line of one who does not observe it';
    if (l.differing.some((s) => s.quantity === l.quantity.plain)) return 'a count beside a disputed line that is the line\'s own';
  }
  return null;
}

/** What is wrong with the lines of which a record has one: they are the first seat's that took part. */
function singleFault({ status, parties, lines }) {
  if (status.is !== 'ok') return null;
  const first = parties.findIndex((p) => p.standing.is === 'took_part'), single = lines.filter((l) => SINGLE.has(l.unit));
  if (single.some((l) => Number(l.party) !== first)) return 'a line that stands once, of another seat than the first that took part';
  return new Set(single.map((l) => l.unit)).size === single.length ? null : 'a line that stands once, a second time';
}

/** What is wrong with a record by itself; nothing when it is sound. */
function recordFault(record) {
  const { parties } = record, seated = (seat) => Number(seat) < parties.length;
  const first = record.version === 1n, convictions = record.convictions ?? [];
  if (record.version < 1n || record.version > 4n) return `version ${record.version} is not 1 to 4`;
  if (!parties.length || parties.length > SEATS_MAX) return `${parties.length} parties`;
  if (new Set(parties.map((p) => p.party)).size !== parties.length) return 'a party is entered twice';
  const lists = [record.contracts, record.privacy, record.transcripts, record.disclosures];
  if (lists.some((l) => l.length > SEATS_MAX) || record.lines.length > LINES_MAX) return 'a list is over its limit';
  if (record.disclosures.some((d) => utf8(d.what).length > DISCLOSURE_BYTES_MAX)) return "a disclosure's text is too long";
  if (first && (convictions.length || record.disclosures.some((d) => d.to === 'parties'))) return 'something that version 1 does not have';
  const before = (a, b) => a.seat < b.seat || (a.seat === b.seat && a.offence < b.offence);
  if (convictions.length > CONVICTIONS_MAX) return 'too many convictions';
  if (convictions.some((c, i) => i > 0 && !before(convictions[i - 1], c))) return 'convictions out of order, or one twice';
  if (convictions.some((c) => !/^[a-z_]{1,32}$/.test(c.offence) || !seated(c.seat))) return 'a conviction of no word, or of nobody';
  if (record.ended < record.started) return 'it ended before it began';
  if (record.lines.some((l) => ![l.party, ...l.observers].every(seated))) return 'a usage line names a seat that no party has';
  if (record.lines.some((l) => l.class !== classOf(l.unit))) return 'a usage line has a class that its unit has not';
  const { status, attempt } = record;
  if (status.is === 'ok' && attempt === 0n) return 'a job ended well without an attempt';
  if (status.is === 'refused' && attempt > 0n) return 'an attempt of a refused job';
  if (status.seat !== undefined && !seated(status.seat)) return 'the status names a seat that no party has';
  return singleFault(record) ?? disputedFault(record) ?? linksFault(record);
}

/** The verification of one bundle. */
class Verification {
  constructor(trust, pinned, beside) {
    this.trust = trust;
    this.beside = beside;
    this.used = new Set();
    this.flawed = new Set();
    this.attempts = new Map();
    this.newest = null;
    this.unattested = 0;
    this.unchecked = new Map();
    this.report = { ok: false, scope: 'single_leaves', trust: pinned ? 'pinned' : 'from_bundle', origin: trust.origin, size: 0n, root: '', cosigned: [], receipts: 0, valid: 0, faults: [], notices: [], shown: [] };
    if (!pinned) this.notice('unpinned');
    if (trust.quorum === 0n) this.notice('no_witness');
  }

  notice(kind, more) {
    this.report.notices.push({ notice: kind, ...more });
  }

  find(leaf, of, what) {
    this.report.faults.push({ leaf, code: of, what });
  }

  flaw(leaf, of, what) {
    this.flawed.add(leaf);
    this.find(leaf, of, what);
  }

  nameOf(key) {
    const own = this.trust.history.idOf(key), known = this.trust.parties.find((p) => p.key === own);
    return known ? `${known.name} (${short(key)})` : short(key);
  }

  holder(key, leaf) {
    return this.trust.parties.find((p) => p.key === key && p.from <= leaf && (p.until === undefined || leaf < p.until));
  }

  /** The checkpoint, when the log signed it. */
  async head(bytes) {
    const { trust, report } = this;
    const parsed = note(bytes);
    const lines = new Map();
    for (const held of trust.chain) lines.set(held, await line(parsed, held));
    const own = trust.chain.filter((held) => lines.get(held) === 0n), by = own.at(-1);
    if (!by) throw new Fault('log.signature', `no signature of ${trust.chain[0].name}; if the log changed its key, a newer trust file has it`);
    const match = /^([^\n]+)\n(0|[1-9][0-9]*)\n([^\n]+)\n$/.exec(parsed.text);
    let root;
    try {
      root = base64(match[3]);
      if (root.length !== 32 || BigInt(match[2]) > TREE_SIZE_MAX || !plainName(match[1])) wrong('');
    } catch (error) {
      throw new Fault('log.malformed', 'a checkpoint: origin, size and root are expected');
    }
    const [origin, size] = [match[1], BigInt(match[2])];
    if (origin !== trust.origin) this.find(null, 'log.signature', `the checkpoint is of the log ${origin}`);
    for (const witness of trust.keys) {
      const time = await trust.history.cosigned(parsed, witness);
      if (time !== undefined) report.cosigned.push({ name: witness.name, time });
    }
    if (BigInt(report.cosigned.length) < trust.quorum) this.find(null, 'log.quorum', `${report.cosigned.length} of ${trust.quorum} that are needed`);
    const latest = report.cosigned.map((c) => c.time).reduce((a, b) => (b > a ? b : a), -1n);
    const over = retired(trust.chain, by, latest, size);
    if (over) this.find(null, 'log.key_retired', over);
    const ignored = parsed.lines.length - own.length - report.cosigned.length;
    if (ignored > 0) this.notice('lines_ignored', { count: ignored });
    Object.assign(report, { size, root: hex(root) });
    return { size, root: hex(root) };
  }

  async leaf(at, bytes) {
    if (bytes.length > LEAF_BYTES_MAX) throw new Fault('receipt.too_large', `${bytes.length} bytes`);
    const sealed = await envelope(bytes);
    const coordinators = () => {
      const { history, coordinator } = this.trust, over = history.over(sealed.signer, at, sealed.issued, this.newest?.issued ?? 0n, 'coordinator');
      if (over) this.flaw(at, 'receipt.key_retired', over);
      else if (history.idOf(sealed.signer, 'coordinator') !== coordinator) this.flaw(at, 'receipt.coordinator', `signed by ${short(sealed.signer)}`);
    };
    if (sealed.kind === 'joint-receipt') {
      const receipt = { ...body(RECEIPT, sealed.payload), bytes: sealed.payload };
      coordinators();
      await this.receipt(at, sealed, receipt);
    } else if (sealed.kind === 'attestation') {
      this.late(at, sealed, body(ATTESTATION, sealed.payload));
    } else if (sealed.kind === 'key-event') {
      const event = body(KEY_EVENT, sealed.payload);
      coordinators();
      const { trust } = this, known = (card) => trust.parties.some((p) => p.key === trust.history.idOf(card.key) && p.name === card.name);
      const equal = event.coordinator === trust.coordinator && trust.chain.some((held) => event.logKey === vkey(held)) && event.quorum === trust.quorum && event.witnesses.join() === trust.witnesses.join();
      if (!equal || !event.parties.every(known)) this.notice('keys_differ', { leaf: at });
    } else if (sealed.kind === 'key-rotation') {
      await follow(this.trust.chain, await keyRotation(sealed), at);
    } else if (sealed.kind === 'party-key-rotation') {
      this.trust.history.follow(await partyRotation(sealed), at);
    } else if (sealed.kind === 'genesis') {
      const genesis = body(GENESIS, sealed.payload);
      coordinators();
      if (at !== 0n || genesis.origin !== this.trust.origin) this.find(at, 'log.genesis', 'a second beginning, or that of another log');
    } else if (sealed.kind === 'node-memo') {
      body(MEMO, sealed.payload); // it speaks to the node that signed it alone
    } else {
      this.unchecked.set(sealed.kind, (this.unchecked.get(sealed.kind) ?? 0) + 1);
    }
  }

  async receipt(at, sealed, receipt) {
    const { record } = receipt;
    this.report.receipts += 1;
    const shown = { leaf: at, issued: sealed.issued, receipt, figures: [] };
    this.report.shown.push(shown);
    const contradiction = recordFault(record);
    if (contradiction) this.flaw(at, 'receipt.record', contradiction);
    if (record.origin !== this.trust.origin) this.flaw(at, 'receipt.record', `it is for the log ${record.origin}`);
    const subject = `job/${record.job}/${record.attempt}`;
    if (sealed.subject !== subject) this.flaw(at, 'receipt.record', 'another job in the header than in the record');
    for (const entry of record.parties) {
      const known = this.holder(entry.party, at);
      if (!known) this.flaw(at, 'receipt.party_unknown', `${entry.name} (${short(entry.party)})`);
      else if (known.name !== entry.name) this.flaw(at, 'receipt.party_name', `${entry.name} here, ${known.name} in the trust file`);
    }
    if (this.attempts.has(subject)) this.flaw(at, 'receipt.duplicate', `first at leaf ${this.attempts.get(subject)}`);
    else this.attempts.set(subject, at);
    if (sealed.issued + SKEW < record.ended) this.flaw(at, 'receipt.time', 'issued before the job ended');
    if (!this.newest || this.newest.issued <= sealed.issued) this.newest = { issued: sealed.issued, leaf: at };
    const held = await this.attested(at, receipt, subject);
    shown.figures = held.flatMap(({ attestation, who }) => (attestation.figures ?? []).map((figure) => ({ who, ...figure })));
    this.missing(at, receipt);
    for (const { sealed: own, attestation } of held) {
      const over = this.trust.history.over(own.signer, at, own.issued, this.newest.issued);
      if (over) this.flaw(at, 'receipt.key_retired', over);
      this.attestation(at, own, attestation);
      if (own.issued + SKEW < record.ended || sealed.issued + SKEW < own.issued) {
        this.flaw(at, 'receipt.time', `${this.nameOf(own.signer)} attested at another time`);
      }
    }
    // Whose attestation lacks has signed no count.
    const count = disputedLines(record).length, all = record.parties.every((p) => p.standing.is !== 'took_part' || !receipt.absent.some((a) => a.party === p.party));
    if (count && all && !this.flawed.has(at)) this.notice('lines_disputed', { leaf: at, count });
    const links = disputedLinks(record);
    if (links && all && !this.flawed.has(at)) this.notice('links_disputed', { leaf: at, count: links });
  }

  /** The attestations that hold; the faults of the others, and of the list of who is absent. */
  async attested(at, receipt, subject) {
    const { record } = receipt, held = [], signers = new Set();
    const digest = hex(await sha256(recordBytes(receipt)));
    for (const [i, carried] of receipt.attestations.entries()) {
      try {
        const one = await this.one(record, digest, subject, carried);
        if (signers.has(one.who)) throw new Fault('receipt.attestation_invalid', 'a party attested twice');
        signers.add(one.who);
        held.push(one);
      } catch (fault) {
        if (!(fault instanceof Fault)) throw fault;
        this.flaw(at, fault.code, `attestation ${i}: ${fault.message}`);
      }
    }
    const missing = absentFault(record, signers, receipt.absent);
    if (missing) this.flaw(at, 'receipt.attestation_missing', missing);
    return held;
  }

  async one(record, digest, subject, carried) {
    const invalid = (what) => { throw new Fault('receipt.attestation_invalid', what); };
    let bytes = carried;
    if (carried.length === 32) {
      bytes = this.beside.get(hex(carried));
      if (!bytes) invalid('its statement is not at hand');
      this.used.add(hex(carried));
    }
    let sealed, attestation;
    try {
      sealed = await envelope(bytes);
      if (sealed.kind !== 'attestation') wrong('a statement of another type');
      attestation = body(ATTESTATION, sealed.payload);
    } catch (error) {
      invalid(error.message);
    }
    const who = this.trust.history.idOf(sealed.signer), entry = record.parties.find((p) => p.party === who);
    if (!entry) throw new Fault('receipt.party_unknown', `${short(sealed.signer)} attested but is no party of the job`);
    if (attestation.usage !== digest) throw new Fault('receipt.digest', `${entry.name} attested another record`);
    if (attestation.role !== entry.role) invalid(`${entry.name}: another role than in the record`);
    if (!sealed.linked) invalid(`${entry.name}: no sequence number`);
    if (sealed.subject !== subject) invalid(`${entry.name}: another job in the header than in the record`);
    const figures = attestation.figures ?? [];
    if (figures.length > FIGURES_MAX || figures.some((f, i) => i > 0 && figures[i - 1].what >= f.what)) {
      invalid(`${entry.name}: too many figures, or out of order`);
    }
    if (bytes.length > ATTESTATION_BYTES_MAX) invalid(`${entry.name}: too long`);
    const links = linksUnlike(record, who, attestation);
    if (links) throw new Fault('receipt.link', `${entry.name} ${links}`);
    return { sealed, attestation, who };
  }

  /** A use that a party took part in and never signed is a flaw; of an attempt without a result there is no use. */
  missing(at, { record, absent }) {
    const away = record.parties.filter((p) => p.standing.is === 'took_part' && absent.some((a) => a.party === p.party));
    if (away.length && record.status.is !== 'ok') this.unattested += 1;
    else away.forEach((p) => this.flaw(at, 'receipt.attestation_missing', `${p.name} took part and is listed as absent`));
  }

  attestation(at, sealed, { verdict, seen }) {
    const who = this.nameOf(sealed.signer);
    if (verdict.is === 'disputes') this.flaw(at, 'receipt.disputed', `${who}: ${verdict.code}`);
    if (seen && seen.size > at) this.find(at, 'log.rollback', `${who} had seen ${seen.size} leaves`);
  }

  late(at, sealed, attestation) {
    const over = this.trust.history.over(sealed.signer, at, sealed.issued, this.newest?.issued ?? 0n);
    if (over) return this.find(at, 'receipt.key_retired', over);
    if (!this.holder(this.trust.history.idOf(sealed.signer), at)) return this.find(at, 'receipt.party_unknown', `a late attestation of ${short(sealed.signer)}`);
    if (!sealed.linked) this.find(at, 'receipt.attestation_invalid', 'a late attestation without a sequence number');
    return this.attestation(at, sealed, attestation);
  }

  close() {
    const { report, newest } = this, latest = report.cosigned.map((c) => c.time).reduce((a, b) => (b > a ? b : a), -1n);
    if (newest && latest >= 0n && latest + SKEW < newest.issued) this.flaw(newest.leaf, 'receipt.time', 'issued after the witnesses cosigned it');
    report.valid = [...this.attempts.values()].filter((leaf) => !this.flawed.has(leaf)).length;
    if (this.unattested) this.notice('unattested', { count: this.unattested });
    this.unchecked.forEach((count, kind) => this.notice('unchecked', { kind, count }));
    const unused = this.beside.size - this.used.size;
    if (unused > 0) this.notice('beside_unused', { count: unused });
    report.log_keys = this.trust.chain.map((held) => ({ key: vkey(held), from: held.from, until: held.until, leaf: held.leaf }));
    report.ok = !report.faults.length && report.valid === report.receipts;
    return report;
  }
}

function absentFault(record, signers, absent) {
  const listed = new Set(absent.map((a) => a.party));
  if (!signers.size) return "no party attested: the record is the coordinator's word alone";
  if (listed.size !== absent.length) return 'a party is listed as absent twice';
  if ([...listed].some((key) => !record.parties.some((p) => p.party === key))) return 'a stranger is listed as absent';
  const entry = record.parties.find((p) => signers.has(p.party) === listed.has(p.party));
  if (!entry) return null;
  return signers.has(entry.party) ? `${entry.name} attested and is listed as absent` : `${entry.name} neither attested nor is listed as absent`;
}

/** The record's exact bytes: what stands under the key 1 of the receipt's body. */
function recordBytes(receipt) {
  const reader = new Reader(receipt.bytes, true);
  reader.head();
  reader.head();
  const from = reader.at;
  reader.item();
  return receipt.bytes.subarray(from, reader.at);
}

/**
 * Verifies a bundle of single receipts against a trust file, or, without one, against the bundle's own keys, which the
 * report then says first. Throws a `Fault` when the bytes are no such bundle; all else is a finding of the report.
 */
async function verifyBundle(bytes, trustBytes) {
  const unusable = (what) => new Fault('receipt.bundle', what);
  const read = (schema, from, cap, of) => {
    if (from.length > cap) throw unusable(`${of} of ${from.length} bytes`);
    try {
      return schema(cbor(from));
    } catch (error) {
      throw unusable(`${of} is ${error.message}`);
    }
  };
  const bundle = read(BUNDLE, bytes, BUNDLE_BYTES_MAX, 'the bundle');
  if (bundle.version !== 1n) throw unusable(`bundle version ${bundle.version} is not 1`);
  if (!bundle.leaves.length === !bundle.proven.length) throw unusable('a bundle has either a whole log or single leaves');
  if (bundle.leaves.length) throw unusable('a whole log: this page verifies single receipts, `tacit-verify` a log');
  if (bundle.kept.length || bundle.promises.length) throw unusable('kept checkpoints and promises can be checked against a whole log alone');
  if (bundle.papers?.length > PAPERS_MAX) throw unusable(`${bundle.papers.length} papers; ${PAPERS_MAX} are allowed`);
  if (bundle.trust) await trusted(bundle.trust);
  const own = trustBytes ? read(TRUST, trustBytes, TRUST_BYTES_MAX, 'the trust file') : bundle.trust;
  if (!own) throw unusable('no trust file was given and the bundle has none');
  const beside = new Map();
  for (const one of bundle.beside) beside.set(hex(await sha256(one)), one);
  const verification = new Verification(await trusted(own), Boolean(trustBytes), beside);
  const all = (trust) => JSON.stringify(trust, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
  if (bundle.trust && all(bundle.trust) !== all(own)) verification.notice('trust_differs');
  verification.notice('single');
  if (bundle.papers) verification.notice('papers_unread', { count: bundle.papers.length });
  try {
    // One that does not follow helps nobody to a key.
    await followAll(verification.trust.chain, bundle.trust?.rotations ?? []);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
  }
  try {
    await verification.trust.history.take(bundle.trust?.partyRotations ?? []);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
  }
  let head = null;
  try {
    head = await verification.head(bundle.checkpoint);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    verification.find(null, fault.code, fault.message);
  }
  for (const { index: at, leaf, proof } of bundle.proven) {
    const hash = await sha256(Uint8Array.of(0), leaf);
    for (const step of [() => verification.leaf(at, leaf), () => head && included(hash, at, head.size, proof, head.root)]) {
      try {
        await step();
      } catch (fault) {
        if (!(fault instanceof Fault)) throw fault;
        verification.flaw(at, fault.code, fault.message);
      }
    }
  }
  return verification.close();
}
