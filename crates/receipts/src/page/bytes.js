// Bytes: hex, base64, SHA-256, Ed25519, and deterministic CBOR (RFC 8949, section 4.2.1) read by a schema. A value
// that is not in its one encoding is refused, as the library refuses it.

class Fault extends Error {
  constructor(code, what) {
    super(what);
    this.code = code;
  }
}

const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
const short = (id) => id.slice(0, 12);
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const utf8 = (text) => new TextEncoder().encode(text);

function join(...parts) {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function text(bytes) {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** Strict base64: padded, with no bits left over. */
function base64(string) {
  const raw = Uint8Array.from(atob(/^[A-Za-z0-9+/]*={0,2}$/.test(string) ? string : '*'), (c) => c.charCodeAt(0));
  if (btoa(String.fromCharCode(...raw)) !== string) throw new Error('not base64');
  return raw;
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', join(...parts)));
}

/** The points of small order, without the sign bit: a key or a point that is one proves nothing. */
const SMALL_ORDER = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]);

function smallOrder(point) {
  const plain = Uint8Array.from(point);
  plain[31] &= 0x7f;
  return SMALL_ORDER.has(hex(plain));
}

/** Whether an Ed25519 signature is the key's over the message. */
async function signed(key, message, signature) {
  if (signature.length !== 64 || smallOrder(key) || smallOrder(signature.slice(0, 32))) return false;
  try {
    const imported = await crypto.subtle.importKey('raw', key, { name: 'Ed25519' }, false, ['verify']);
    return await crypto.subtle.verify({ name: 'Ed25519' }, imported, signature, message);
  } catch (error) {
    // A key that is no point is refused by the import; that there is no Ed25519 at all was found out before.
    return false;
  }
}

const DEPTH_MAX = 40;

/** Reads CBOR items of definite lengths. `strict` refuses numbers and lengths that are longer than they need be. */
class Reader {
  constructor(bytes, strict) {
    this.bytes = bytes;
    this.at = 0;
    this.strict = strict;
    this.depth = 0;
  }

  head() {
    const first = this.take(1)[0];
    const [major, info] = [first >> 5, first & 31];
    if (info < 24) return [major, BigInt(info)];
    if (info > 27) throw new Error('malformed');
    const n = this.take(1 << (info - 24)).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    const least = info === 24 ? 24n : 1n << BigInt(8 << (info - 25));
    if (this.strict && n < least) throw new Error('not the canonical encoding');
    return [major, n];
  }

  take(n) {
    if (BigInt(n) > BigInt(this.bytes.length - this.at)) throw new Error('malformed');
    const part = this.bytes.subarray(this.at, this.at + Number(n));
    this.at += Number(n);
    return part;
  }

  /** Any item: numbers as BigInt, maps as lists of pairs, tags as `{tag, value}`. */
  item() {
    if (++this.depth > DEPTH_MAX) throw new Error('nested too deeply');
    const [major, n] = this.head();
    const list = (count) => {
      if (count > BigInt(this.bytes.length - this.at)) throw new Error('malformed');
      return Array.from({ length: Number(count) }, () => this.item());
    };
    const read = [
      () => n,
      () => -1n - n,
      () => this.take(n),
      () => text(this.take(n)),
      () => list(n),
      () => {
        const flat = list(n * 2n);
        return new Pairs(flat.filter((_, i) => i % 2 === 0).map((key, i) => [key, flat[2 * i + 1]]));
      },
      () => ({ tag: n, value: this.item() }),
      () => { throw new Error('malformed'); },
    ][major];
    const value = read();
    this.depth -= 1;
    return value;
  }
}

class Pairs {
  constructor(pairs) {
    this.pairs = pairs;
  }

  get(key) {
    const found = this.pairs.find(([k]) => k === key);
    return found && found[1];
  }
}

/** One item that is all of the bytes. */
function cbor(bytes, strict = true) {
  const reader = new Reader(bytes, strict);
  const value = reader.item();
  if (reader.at !== bytes.length) throw new Error('malformed');
  return value;
}

// Schemas: functions from an item to a value, that throw for another one.

const wrong = (what) => { throw new Error(what); };
const uint = (bits) => (item) =>
  typeof item === 'bigint' && item >= 0n && item >> BigInt(bits) === 0n ? item : wrong('not a number of its size');
const u8 = uint(8), u16 = uint(16), u32 = uint(32), u64 = uint(64);
const str = (item) => (typeof item === 'string' ? item : wrong('not a text'));
const bstr = (item) => (item instanceof Uint8Array ? item : wrong('not bytes'));
const id = (item) => (item instanceof Uint8Array && item.length === 32 ? hex(item) : wrong('not 32 bytes'));
const name = (item) => (/^[a-z0-9][a-z0-9\-_.]{0,63}$/.test(str(item)) ? item : wrong('not a name'));
const list = (of) => (item) => (Array.isArray(item) ? item.map(of) : wrong('not a list'));
const index = (...words) => (item) => words[Number(u32(item))] ?? wrong('an unknown choice');
const optional = (of) => Object.assign((item) => of(item), { optional: true });

/** A map with the keys of `fields`, ascending, no other: `{key: [name, schema]}`. */
const map = (fields) => (item) => {
  if (!(item instanceof Pairs)) wrong('not a map');
  const out = {};
  let last = -1n;
  for (const [key, value] of item.pairs) {
    const field = fields[key];
    if (typeof key !== 'bigint' || key <= last || !field) wrong('another key');
    last = key;
    out[field[0]] = field[1](value);
  }
  const absent = Object.values(fields).find(([n, of]) => !of.optional && !(n in out));
  return absent ? wrong(`no ${absent[0]}`) : out;
};

/** `[number, {fields}]`; gives the fields and which choice it is. */
const choice = (...kinds) => (item) => {
  if (!Array.isArray(item) || item.length !== 2) wrong('not a choice');
  const kind = kinds[Number(u32(item[0]))] ?? wrong('an unknown choice');
  return { is: kind[0], ...map(kind[1] ?? {})(item[1]) };
};
