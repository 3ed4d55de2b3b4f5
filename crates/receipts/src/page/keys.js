
// Which keys speak for a party or a witness, and when: see `tacit_receipts::keys`.

const PARTY_KEYS_MAX = 64, PARTY_ROTATIONS_MAX = 4096, LATE = 604800000n;
const PARTY_ROTATION = map({
  1: ['version', u32], 2: ['origin', str], 3: ['role', index('node', 'witness', 'coordinator')], 4: ['id', id], 5: ['old', id], 6: ['new', id],
  7: ['from', u64], 8: ['until', u64], 9: ['consent', optional(bstr)],
});
const octets = (hexed) => Uint8Array.from(hexed.match(/../g), (byte) => parseInt(byte, 16));
const unfit = (what) => { throw new Fault('receipt.key_rotation', what); };

/** A change of a party's or a witness's key that its two keys signed. */
async function partyRotation(sealed) {
  const turn = body(PARTY_ROTATION, sealed.payload), { consent } = turn;
  if (turn.version !== 1n || sealed.signer !== turn.old) unfit('its version or keys');
  if (sealed.subject !== `${turn.role}/${turn.id}`) unfit('of another party in the header');
  if (turn.new === turn.old || turn.new === turn.id) unfit('the same key again');
  if (turn.until < turn.from || turn.until - turn.from > OVERLAP_MAX) unfit('the overlap');
  if (consent?.length !== 64) unfit('the key that comes has not agreed');
  // What it agreed to is the map without its own signature, which is the last of nine fields.
  const terms = sealed.payload.slice(0, sealed.payload.length - head(consent).length - 65);
  terms[0] = 0xa8;
  if (!(await signed(octets(turn.new), join(utf8('tacit-party-key-rotation/1\0'), terms), consent))) unfit('the key that comes has not agreed');
  return turn;
}

/** The keys of parties and witnesses: an id is the first key of each. */
class History {
  constructor(origin, nodes, witnesses, coordinator) {
    this.origin = origin;
    this.ids = { node: new Set(nodes), witness: new Set(witnesses), coordinator: new Set([coordinator]) };
    this.chains = new Map();
    this.later = new Map();
  }

  /** The keys of an id, oldest first; of one that never changed, none. */
  keys(role, own) {
    return this.chains.get(`${role}/${own}`) ?? [];
  }

  /** For which node a key speaks, or who else of a role. */
  idOf(key, role = 'node') {
    const of = this.later.get(key);
    return of?.role === role ? of.id : key;
  }

  follow(turn, leaf) {
    if (turn.origin !== this.origin) unfit('it is of another log');
    if (!this.ids[turn.role].has(turn.id)) unfit('it is of nobody that is known');
    const chain = this.keys(turn.role, turn.id), known = chain.findIndex((held) => held.key === turn.new);
    if (known >= 0) {
      const held = chain[known], before = chain[known - 1];
      if (before?.key !== turn.old || before.until !== turn.until || held.from !== turn.from) unfit('the same key at another time, or after another');
      held.leaf ??= leaf;
      return;
    }
    if (this.later.has(turn.new) || Object.values(this.ids).some((known) => known.has(turn.new))) unfit("the key that comes is somebody's already");
    if (this.later.size >= PARTY_ROTATIONS_MAX) unfit('too many changes');
    const longer = chain.length ? chain : [{ key: turn.id }], newest = longer.at(-1), before = longer.at(-2);
    if (newest.key !== turn.old) unfit('it does not follow');
    if (before && turn.from < before.until) unfit('the overlap before it is not over');
    if (newest.from !== undefined && turn.from < newest.from) unfit('it holds before the key that goes');
    if (longer.length >= PARTY_KEYS_MAX) unfit('too many keys');
    newest.until = turn.until;
    longer.push({ key: turn.new, from: turn.from, leaf });
    this.chains.set(`${turn.role}/${turn.id}`, longer);
    this.later.set(turn.new, { role: turn.role, id: turn.id });
  }

  /** Follows statements in whatever order they come; the fault of one that does not follow, if any. */
  async take(statements) {
    const turns = [];
    for (const bytes of statements) {
      const sealed = await envelope(bytes);
      if (sealed.kind !== 'party-key-rotation') throw new Fault('receipt.malformed', 'a statement of another type');
      turns.push(sealed);
    }
    if (turns.length > PARTY_ROTATIONS_MAX) unfit('too many of them');
    const read = turns.map((sealed) => ({ sealed, turn: body(PARTY_ROTATION, sealed.payload) }));
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    read.sort((a, b) => order(a.turn.from, b.turn.from) || order(a.turn.until, b.turn.until));
    let fault = null;
    for (const { sealed } of read) {
      try {
        this.follow(await partyRotation(sealed));
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        fault ??= error;
      }
    }
    return fault;
  }

  /** Why a key did not hold for what it signed at a leaf, when the newest receipt of the log there is of a time. */
  over(key, leaf, signedAt, newest, role = 'node') {
    const held = this.keys(role, this.idOf(key, role)).find((one) => one.key === key);
    if (!held) return null;
    if (held.leaf !== undefined && leaf <= held.leaf) return `the key ${short(key)} signed before leaf ${held.leaf} named it`;
    if (held.from !== undefined && signedAt + SKEW < held.from) return `the key ${short(key)} holds from ${held.from}`;
    if (held.until === undefined) return null;
    if (signedAt > held.until || newest > held.until + LATE + SKEW) return `the key ${short(key)} held until ${held.until}`;
    return null;
  }

  /** When a witness cosigned a note with a key that held then; undefined when it did not. */
  async cosigned(parsed, witness) {
    const valid = (time) => time !== undefined && time !== false;
    const keys = this.keys('witness', hex(witness.key));
    if (!keys.length) {
      const time = await line(parsed, witness);
      return valid(time) ? time : undefined;
    }
    for (const held of [...keys].reverse()) {
      const time = await line(parsed, await cosigner(witness.name, held.key));
      if (valid(time) && !(held.from > time + SKEW) && !(time > held.until)) return time;
    }
    return undefined;
  }
}

/** A witness's key under its name. */
async function cosigner(witness, key) {
  const material = octets(`04${key}`);
  return { name: witness, kind: 4, key: material.slice(1), id: (await sha256(utf8(witness), Uint8Array.of(10), material)).slice(0, 4) };
}
