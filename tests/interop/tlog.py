"""Logs, notes, cosignatures and COSE in Python with its standard library alone, written from the standards: RFC 8032
(Ed25519), RFC 6962 (tree), RFC 8949 (CBOR), RFC 9052 (COSE), C2SP signed-note, tlog-checkpoint and tlog-cosignature. It
shares nothing with the crates that it is compared with. Slow, and not for keys that must stay secret.
"""

import base64
import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def sha256(data):
    return hashlib.sha256(data).digest()


# Ed25519

def _add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(n, point):
    out = (0, 1, 1, 0)
    while n:
        if n & 1:
            out = _add(out, point)
        point = _add(point, point)
        n >>= 1
    return out


def _recover(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


_Y = 4 * pow(5, P - 2, P) % P
_X = _recover(_Y, 0)
BASE = (_X, _Y, 1, _X * _Y % P)


def _pack(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    return ((y * inverse % P) | ((x * inverse % P & 1) << 255)).to_bytes(32, "little")


def _unpack(data):
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x = _recover(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def _expand(seed):
    half = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(half[:32], "little")
    return scalar & (2**254 - 8) | 2**254, half[32:]


def _number(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def public_key(seed):
    return _pack(_times(_expand(seed)[0], BASE))


def sign(seed, message):
    scalar, prefix = _expand(seed)
    public = _pack(_times(scalar, BASE))
    nonce = _number(prefix, message)
    first = _pack(_times(nonce, BASE))
    return first + ((nonce + _number(first, public, message) * scalar) % ORDER).to_bytes(32, "little")


def verify(public, message, signature):
    if len(signature) != 64:
        return False
    key, first = _unpack(public), _unpack(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or first is None or scalar >= ORDER:
        return False
    right = _add(first, _times(_number(signature[:32], public, message), key))
    return _pack(_times(scalar, BASE)) == _pack(right)


# RFC 6962, section 2.1

def leaf_hash(leaf):
    return sha256(b"\0" + leaf)


def _split(n):
    return 1 << (n - 1).bit_length() - 1


def root(hashes):
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = _split(len(hashes))
    return sha256(b"\1" + root(hashes[:k]) + root(hashes[k:]))


def inclusion(index, hashes):
    if len(hashes) == 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return inclusion(index, hashes[:k]) + [root(hashes[k:])]
    return inclusion(index - k, hashes[k:]) + [root(hashes[:k])]


def consistency(old, hashes):
    def part(m, hashes, whole):
        if m == len(hashes):
            return [] if whole else [root(hashes)]
        k = _split(len(hashes))
        if m <= k:
            return part(m, hashes[:k], whole) + [root(hashes[k:])]
        return part(m - k, hashes[k:], False) + [root(hashes[:k])]

    return [] if old in (0, len(hashes)) else part(old, hashes, True)


def included(leaf, index, size, proof, expected):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    at, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = sha256(b"\1" + other + found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = sha256(b"\1" + found + other)
        at, last = at >> 1, last >> 1
    return last == 0 and found == expected


# Notes

ED25519, COSIGNATURE = 1, 4


def key_id(name, kind, public):
    return sha256(name.encode() + b"\n" + bytes([kind]) + public)[:4]


def vkey(name, kind, public):
    return f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def parse_vkey(text):
    name, ident, key = text.split("+", 2)
    raw = base64.b64decode(key, validate=True)
    assert key_id(name, raw[0], raw[1:]).hex() == ident, text
    return name, raw[0], raw[1:]


def line(name, kind, public, signature):
    return f"\u2014 {name} {base64.b64encode(key_id(name, kind, public) + signature).decode()}\n"


def checkpoint(origin, size, tree_root, seed):
    text = f"{origin}\n{size}\n{base64.b64encode(tree_root).decode()}\n"
    public = public_key(seed)
    return text + "\n" + line(origin, ED25519, public, sign(seed, text.encode()))


def split_note(note):
    text, lines = note.rsplit("\n\n", 1)
    return text + "\n", lines


def check_line(key, text, signed):
    """Whether a signature line is the key's over the text; of a cosignature its time, in seconds."""
    name, kind, public = parse_vkey(key)
    dash, found, value = signed.rstrip("\n").split(" ")
    raw = base64.b64decode(value, validate=True)
    if dash != "\u2014" or found != name or raw[:4] != key_id(name, kind, public):
        return False
    if kind == ED25519:
        return verify(public, text.encode(), raw[4:])
    at = int.from_bytes(raw[4:12], "big")
    return verify(public, f"cosignature/v1\ntime {at}\n{text}".encode(), raw[12:]) and at


# Deterministic CBOR, RFC 8949, section 4.2.1: integers, strings, arrays, maps, tags, null

class Tag:
    def __init__(self, number, value):
        self.number, self.value = number, value

    def __eq__(self, other):
        return isinstance(other, Tag) and (self.number, self.value) == (other.number, other.value)


def _head(major, n):
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 24:
            return bytes([major << 5 | n])
        if n < 1 << 8 * size:
            return bytes([major << 5 | extra]) + n.to_bytes(size, "big")
    raise ValueError(n)


def dumps(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(dumps, value))
    if isinstance(value, dict):
        pairs = sorted((dumps(k), dumps(v)) for k, v in value.items())
        return _head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    if isinstance(value, Tag):
        return _head(6, value.number) + dumps(value.value)
    raise TypeError(value)


def loads(data):
    value, rest = _load(data)
    if rest or dumps(value) != data:
        raise ValueError("not deterministic")
    return value


def _load(data):
    first, data = data[0], data[1:]
    major, n = first >> 5, first & 31
    if major == 7:
        return {20: False, 21: True, 22: None}[n], data
    if n >= 24:
        size = 1 << n - 24
        n, data = int.from_bytes(data[:size], "big"), data[size:]
    if major < 2:
        return (n if major == 0 else -1 - n), data
    if major in (2, 3):
        if len(data) < n:
            raise ValueError("cut short")
        return (data[:n] if major == 2 else data[:n].decode()), data[n:]
    if major == 6:
        value, data = _load(data)
        return Tag(n, value), data
    items = []
    for _ in range(n * (major - 3)):
        value, data = _load(data)
        items.append(value)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), data


def signed_bytes(protected, payload):
    """The Sig_structure of a COSE_Sign1, RFC 9052, section 4.4."""
    return dumps(["Signature1", protected, b"", payload])
