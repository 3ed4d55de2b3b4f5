#!/usr/bin/env python3
"""The log of receipts, a second time: statements, joint receipts, tree, checkpoint, cosignatures, both forms of proof,
quorum file, bundle and trust file, made from fixed seeds by docs/RECEIPTS.md and the standards that it names, with
nothing but the standard library.

    log.py --write     write log.json beside this file
    log.py --check     compare it with what this script makes, and check every signature and proof in it again

`crates/receipts/tests/second.rs` makes the same bytes with the crate, and verifies the bundle.
"""

import base64
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "interop"))

import tlog  # noqa: E402
from tlog import Tag, dumps, loads, sha256  # noqa: E402

ORIGIN, NEXT_ORIGIN = "log.example/usage/2026", "log.example/usage/2027"
START = 1_795_000_000_000
LOG, COORDINATOR = bytes([1] * 32), bytes([2] * 32)
NEXT_LOG, OVERLAP = bytes([21] * 32), 3_600_000
WITNESSES = [bytes([50 + i] * 32) for i in range(3)]
PARTIES = [bytes([100 + i] * 32) for i in range(3)]
NAMES = ["bank-a", "bank-b", "telecom"]
QUORUM = 2
SIGHTINGS_MAX = 2048
SINGLE_UNITS = (0, 1, 3, 4, 7, 8)


# Statements: COSE_Sign1 over deterministic CBOR

def statement(seed, kind, subject, millis, body, link=None):
    public = tlog.public_key(seed)
    header = {1: -8, 3: f"application/vnd.tacit.{kind}+cbor", 4: public,
              15: {1: public.hex(), 2: subject, 6: millis // 1000}}
    if link is not None:
        header[-70001], header[-70002] = link
    protected, payload = dumps(header), dumps(body)
    return dumps(Tag(18, [protected, {}, payload, tlog.sign(seed, tlog.signed_bytes(protected, payload))]))


def open_statement(data):
    """Header and body of a statement whose signature holds."""
    outer = loads(data)
    assert outer.number == 18
    protected, unprotected, payload, signature = outer.value
    header = loads(protected)
    assert unprotected == {} and header[1] in (-8, -19) and header[15][1] == header[4].hex()
    assert tlog.verify(header[4], tlog.signed_bytes(protected, payload), signature), "signature"
    return header, loads(payload)


def choice(number, **values):
    return [number, {int(k[1:]): v for k, v in values.items()}]


# A small log: the two leaves of its beginning, two jobs, a refused one, an attestation that came late

class Log:
    def __init__(self):
        self.now, self.leaves, self.chains = START, [], [(0, bytes(32))] * len(PARTIES)
        self.append(statement(COORDINATOR, "genesis", "log", self.now,
                              {1: 1, 2: ORIGIN, 3: "receipts of this group"}))
        self.append(statement(COORDINATOR, "key-event", "log", self.now, {
            1: 1, 2: tlog.public_key(COORDINATOR), 3: log_key(), 4: witness_keys(), 5: QUORUM,
            6: [{1: name, 2: tlog.public_key(seed)} for name, seed in zip(NAMES, PARTIES)]}))

    def append(self, leaf):
        self.leaves.append(leaf)

    def hashes(self):
        return [tlog.leaf_hash(leaf) for leaf in self.leaves]

    def record(self, job, attempt, status, result, standing, version=2, convicted=(), differing=None):
        started, self.now = self.now, self.now + 60_000
        parties = []
        for i, (name, seed) in enumerate(zip(NAMES, PARTIES)):
            entry = {1: tlog.public_key(seed), 2: 2 if i == 0 else 0, 5: name, 6: standing[i]}
            if i > 0:
                entry[3] = bytes([i] * 32)
            parties.append(entry)
        lines = [{1: 0, 2: 0, 3: 1, 4: 1, 5: []}, {1: 2, 2: 1, 3: 1000 + job, 4: 0, 5: []},
                 {1: 6, 2: 2, 3: bytes([job] * 32), 4: 2, 5: [2]}]
        # Observers that counted something else than a line says: the line is disputed, and the version says that one is.
        for at, counts in (differing or {}).items():
            version, lines[at][6] = 3, [{1: seat, 2: count} for seat, count in counts]
        revealed = [{1: "sum of 4 groups", 2: tlog.public_key(PARTIES[0]), 3: 4}] if result else []
        if result and version > 1:
            revealed.append({1: "counts", 2: 0, 3: 8})
        record = {1: version, 2: ORIGIN, 3: bytes([job] * 32), 4: bytes([job ^ 0xFF] * 32), 5: [bytes([7] * 32)], 6: "stats",
                  7: status, 8: parties, 9: lines, 10: [], 13: [], 14: started, 15: self.now,
                  16: revealed, 17: attempt}
        if result:
            record[12] = bytes([job + 1] * 32)
        if convicted:
            record[18] = [{1: seat, 2: offence, 3: sha256(offence.encode())} for seat, offence in convicted]
        return record

    def attest(self, i, record):
        seq, prev = self.chains[i]
        body = {1: sha256(dumps(record)), 2: record[8][i][2], 3: choice(0), 4: [],
                7: {1: len(self.leaves), 2: tlog.root(self.hashes())}}
        if i == 1 and record[7] == choice(0):
            body[8] = [{1: 0, 2: commitment(opening(i, record))}]
        subject = f"job/{record[3].hex()}/{record[17]}"
        said = statement(PARTIES[i], "attestation", subject, self.now, body, (seq, prev))
        self.chains[i] = (seq + 1, sha256(said))
        return said

    def close(self, record, attestations, absent):
        subject = f"job/{record[3].hex()}/{record[17]}"
        self.append(statement(COORDINATOR, "joint-receipt", subject, self.now,
                              {1: record, 2: attestations, 5: absent}))


def opening(i, record):
    """What opens the figure that a party commits to: how many rows its dataset version has."""
    return dumps({1: 1, 2: record[3], 3: record[17], 4: tlog.public_key(PARTIES[i]), 5: 0, 6: 1000 + record[3][0],
                  7: sha256(b"salt" + record[3])})


def commitment(said):
    framed = [len(part).to_bytes(8, "little") + part for part in (b"tacit-opening/1", said)]
    return sha256(b"".join(framed))


def log_key(seed=LOG):
    return tlog.vkey(ORIGIN, tlog.ED25519, tlog.public_key(seed))


def rotation(millis):
    """One key of the log gives way to another: the old one signs it, the new one has signed the terms."""
    terms = {1: 1, 2: ORIGIN, 3: tlog.public_key(LOG), 4: tlog.public_key(NEXT_LOG), 5: millis, 6: millis + OVERLAP}
    agreed = tlog.sign(NEXT_LOG, b"tacit-key-rotation/1\0" + dumps(terms))
    return statement(LOG, "key-rotation", ORIGIN, millis, terms | {7: agreed})


def shard_change(millis, size):
    """The last leaf of the log, which names the next one: the log's key signs it, the next one's has signed the terms."""
    terms = {1: 1, 2: ORIGIN, 3: NEXT_ORIGIN, 4: tlog.public_key(LOG), 5: tlog.public_key(NEXT_LOG), 6: size + 1}
    agreed = tlog.sign(NEXT_LOG, b"tacit-shard-change/1\0" + dumps(terms))
    return statement(LOG, "shard-change", ORIGIN, millis, terms | {7: agreed})


def check_shard_change(held):
    """From the log's key to the next log's, and what that one's genesis has to continue."""
    header, body = open_statement(bytes.fromhex(held["shard_change"]))
    name, _, public = tlog.parse_vkey(held["log_key"])
    terms = {k: v for k, v in body.items() if k != 7}
    assert header[3] == "application/vnd.tacit.shard-change+cbor" and body[1] == 1 and body[2] == name
    assert header[4] == body[4] == public, "not signed by the log's key"
    assert body[3] != name and body[3].split("/")[0] == name.split("/")[0], "of another host"
    assert tlog.verify(body[5], b"tacit-shard-change/1\0" + dumps(terms), body[7]), "not agreed to"
    text, _ = tlog.split_note(held["checkpoint"])
    assert held["continues"] == sha256(text.encode() if isinstance(text, str) else text).hex()


def follow(pinned, changes):
    """The keys, in text form and with their times, to which changes lead from a pinned one; each by the one before."""
    name, _, public = tlog.parse_vkey(pinned)
    keys = [(pinned, None, None)]
    for change in changes:
        header, body = open_statement(change)
        terms = {k: v for k, v in body.items() if k != 7}
        assert header[3] == "application/vnd.tacit.key-rotation+cbor" and body[1] == 1 and body[2] == name
        assert header[4] == body[3] == public != body[4], "not signed by the key that goes"
        assert 0 <= body[6] - body[5] <= 90 * 24 * 3_600_000
        assert tlog.verify(body[4], b"tacit-key-rotation/1\0" + dumps(terms), body[7]), "not agreed to"
        public = body[4]
        keys[-1] = (*keys[-1][:2], body[6])
        keys.append((tlog.vkey(name, tlog.ED25519, public), body[5], None))
    return keys


def witness_keys():
    return [tlog.vkey(f"w.example/{i}", tlog.COSIGNATURE, tlog.public_key(seed)) for i, seed in enumerate(WITNESSES)]


def small_log():
    log, took_part = Log(), [choice(0)] * 3
    for job in (1, 2):
        # Logs have records of the first version too.
        record = log.record(job, 1, choice(0), True, took_part, version=job)
        log.close(record, [log.attest(i, record) for i in range(3)], [])
    # A party is lost at a step; the attempt is aborted, and the party attests when it is back.
    aborted = log.record(3, 2, choice(1, _1="job.peer_lost", _2=(1 << 16) | 2, _3=2), False,
                         [choice(0), choice(0), choice(1, _1=(1 << 16) | 2)], convicted=[(2, "altered")])
    absent = [{1: tlog.public_key(PARTIES[2]), 2: "job.peer_lost"}]
    log.close(aborted, [log.attest(0, aborted), log.attest(1, aborted)], absent)
    log.append(log.attest(2, aborted))
    refused = log.record(4, 0, choice(2, _1="refused.quota", _2=1), False, took_part)
    log.close(refused, [log.attest(i, refused) for i in range(3)], [])
    # Two parties counted other numbers than the third gave; all three sign who counted what.
    disputed = log.record(5, 1, choice(0), True, took_part, differing={1: [(0, 1004), (2, 1006)]})
    log.close(disputed, [log.attest(i, disputed) for i in range(3)], [])
    return log


# Lines that stand once, and lines on which observers differ

def single_fault(record):
    """What is wrong with the lines of which a record with a result has one: they are the first seat's that took part."""
    if record[7] != choice(0):
        return None
    first = next((seat for seat, entry in enumerate(record[8]) if entry[6] == choice(0)), None)
    units = [line[1] for line in record[9] if line[1] in SINGLE_UNITS]
    if any(line[2] != first for line in record[9] if line[1] in SINGLE_UNITS):
        return "a line that stands once, of another seat"
    return "a line that stands once, twice" if len(set(units)) < len(units) else None


def disputed_fault(record):
    """What is wrong with the disputed lines of a record; nothing when each says who counted what."""
    lines = [line for line in record[9] if 6 in line]
    if bool(lines) != (record[1] == 3):
        return "a disputed line, or none, in this version"
    if sum(len(line[6]) for line in lines) > SIGHTINGS_MAX:
        return "too many counts"
    for line in lines:
        seats = [count[1] for count in line[6]]
        if not isinstance(line[3], int) or line[4] != 0 or record[7] != choice(0):
            return "no party can have counted it"
        if not seats or seats != sorted(set(seats)):
            return "counts out of order, twice, or none"
        for seat in seats:
            took_part = seat < len(record[8]) and record[8][seat][6] == choice(0)
            if not took_part or seat == line[2] or (line[5] and seat not in line[5]):
                return "a count of one who does not observe it"
        if line[3] in [count[2] for count in line[6]]:
            return "a count that is the line's own"
    return None


def badly_marked():
    """Records whose lines are another seat's, or disputed and not marked as they should be, by what is wrong."""
    took_part = [choice(0)] * 3
    counts = {1: [(0, 1004), (2, 1006)]}
    make = lambda differing, **more: Log().record(5, 1, choice(0), True, took_part, differing=differing, **more)
    out = {
        "no disputed line in its version": make(None, version=3),
        "a disputed line in the version before": make(counts) | {1: 2},
        "counts out of order": make({1: [(2, 1006), (0, 1004)]}),
        "a count twice": make({1: [(0, 1004), (0, 1006)]}),
        "the count of the line's own party": make({1: [(1, 1004)]}),
        "the count of nobody": make({1: [(3, 1004)]}),
        "a count that is the line's own": make({1: [(0, 1005)]}),
        "a line that follows from the job": make({0: [(1, 2)]}),
        "a commitment": make({2: [(0, 1)]}),
        "a count of one who is no observer": make(counts),
        "a count of one who was lost": make(counts),
        "no result": make(counts),
        "one count more than fit": make(counts),
        "the job of another seat": make(None),
        "the job of one who was lost": make(None),
        "the job twice": make(None),
    }
    out["a count of one who is no observer"][9][1][5] = [0]
    out["a count of one who was lost"][8][2][6] = choice(1, _1=4)
    out["no result"][7] = choice(1, _1="job.peer_lost")
    out["the job of another seat"][9][0][2] = 1
    out["the job of one who was lost"][8][0][6] = choice(1, _1=4)
    out["the job twice"][9] += out["the job twice"][9][:1]
    out["one count more than fit"][9] += out["one count more than fit"][9][1:2] * (SIGHTINGS_MAX // 2)
    return {name: dumps(record).hex() for name, record in out.items()}


# What shows a leaf to be in the log

def cosigned(log, seeds=(LOG,)):
    note = tlog.checkpoint(ORIGIN, len(log.leaves), tlog.root(log.hashes()), seeds[0])
    text, _ = tlog.split_note(note)
    for seed in seeds[1:]:
        note += tlog.line(ORIGIN, tlog.ED25519, tlog.public_key(seed), tlog.sign(seed, text.encode()))
    seconds = log.now // 1000
    for i, seed in enumerate(WITNESSES[:QUORUM]):
        signed = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        signature = seconds.to_bytes(8, "big") + tlog.sign(seed, signed)
        note += tlog.line(f"w.example/{i}", tlog.COSIGNATURE, tlog.public_key(seed), signature)
    return note


def proof_file(log, index, note):
    hashes = "".join(base64.b64encode(h).decode() + "\n" for h in tlog.inclusion(index, log.hashes()))
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{hashes}\n{note}"


def cose_receipt(log, index):
    subject = open_statement(log.leaves[index])[0][15][2]
    public = tlog.public_key(LOG)
    hashes = log.hashes()
    place = {-70003: [len(hashes), index]}
    protected = dumps({1: -8, 4: public, 15: {1: ORIGIN, 2: subject}, 395: 1} | place)
    proof = dumps([len(hashes), index, tlog.inclusion(index, hashes)])
    signature = tlog.sign(LOG, tlog.signed_bytes(protected, tlog.root(hashes)))
    return dumps(Tag(18, [protected, {396: {-1: [proof]}}, None, signature]))


def transparent(leaf, receipts):
    protected, _, payload, signature = loads(leaf).value
    return dumps(Tag(18, [protected, {394: receipts}, payload, signature]))


def policy():
    members = [f"w.example/{i}" for i in range(len(WITNESSES))]
    lines = [f"log {log_key()}"] + [f"witness {name} {key}" for name, key in zip(members, witness_keys())]
    return "\n".join(lines + [f"group witnesses {QUORUM} {' '.join(members)}", "quorum witnesses"]) + "\n"


def trust():
    parties = [{1: name, 2: tlog.public_key(seed), 3: 0} for name, seed in zip(NAMES, PARTIES)]
    return {1: 1, 2: ORIGIN, 3: tlog.public_key(COORDINATOR), 4: log_key(), 5: witness_keys(), 6: QUORUM, 7: parties}


def bundle(log, note, keys=None):
    return dumps({1: 1, 2: keys or trust(), 3: note.encode(), 4: log.leaves, 5: [], 6: [], 7: [], 8: []})


def made():
    log = small_log()
    note, size = cosigned(log), len(log.leaves)
    receipts = [cose_receipt(log, i) for i in range(size)]
    # The same log goes on and changes its key: in the overlap both sign, and after it the next one alone.
    longer = small_log()
    change = rotation(longer.now)
    longer.append(change)
    both = cosigned(longer, (NEXT_LOG, LOG))
    longer.now += 2 * OVERLAP
    after = cosigned(longer, (NEXT_LOG,))
    return {
        "origin": ORIGIN, "log_seed": LOG.hex(), "log_key": log_key(), "witnesses": witness_keys(),
        "leaves": [leaf.hex() for leaf in log.leaves],
        "roots": [tlog.root(log.hashes()[:n]).hex() for n in range(size + 1)],
        "consistency": [[h.hex() for h in tlog.consistency(n, log.hashes())] for n in range(size + 1)],
        "checkpoint": note,
        "proofs": [proof_file(log, i, note) for i in range(size)],
        "cose_receipts": [receipt.hex() for receipt in receipts],
        "transparent_statements": [transparent(leaf, [r]).hex() for leaf, r in zip(log.leaves, receipts)],
        "badly_marked": badly_marked(),
        "openings": [opening(1, open_statement(log.leaves[i])[1][1]).hex() for i in (2, 3)],
        "policy": policy(),
        "trust": dumps(trust()).hex(),
        "bundle": bundle(log, note).hex(),
        "next_log_key": log_key(NEXT_LOG), "key_rotation": change.hex(),
        "shard_change": shard_change(log.now, size).hex(), "continues": sha256(note.split("\n\n")[0].encode() + b"\n").hex(),
        "checkpoint_in_overlap": both, "checkpoint_after": after,
        "trust_with_change": dumps(trust() | {8: [change]}).hex(),
        "bundle_after": bundle(longer, after).hex(),
        "bundle_of_retired_key": bundle(longer, cosigned(longer)).hex(),
    }


def check(held):
    """Reads everything again, as one who did not make it."""
    text, lines = tlog.split_note(held["checkpoint"])
    origin, size, encoded = text.splitlines()
    root, size = base64.b64decode(encoded), int(size)
    lines = lines.splitlines()
    assert origin == held["origin"] and tlog.check_line(held["log_key"], text, lines[0])
    by = [key for key in held["witnesses"] if any(tlog.check_line(key, text, line) for line in lines[1:])]
    assert len(by) == QUORUM
    public = tlog.parse_vkey(held["log_key"])[2]
    assert root.hex() == held["roots"][size] and size == len(held["leaves"])
    for index in range(size):
        leaf = bytes.fromhex(held["leaves"][index])
        header, _ = open_statement(leaf)
        whole = loads(bytes.fromhex(held["transparent_statements"][index]))
        assert whole.value[1] == {394: [bytes.fromhex(held["cose_receipts"][index])]}
        whole.value[1] = {}
        assert dumps(whole) == leaf
        receipt = loads(bytes.fromhex(held["cose_receipts"][index]))
        protected, unprotected, payload, signature = receipt.value
        assert payload is None and loads(protected) == {
            1: -8, 4: public, 15: {1: origin, 2: header[15][2]}, 395: 1, -70003: [size, index]}
        tree, at, path = loads(unprotected[396][-1][0])
        assert (tree, at) == (size, index) and tlog.included(tlog.leaf_hash(leaf), at, tree, path, root)
        assert tlog.verify(public, tlog.signed_bytes(protected, root), signature)
        head, note = held["proofs"][index].split("\n\n", 1)
        assert note == held["checkpoint"]
        first, at, *path = head.split("\n")
        assert (first, at) == ("c2sp.org/tlog-proof@v1", f"index {index}")
        path = [base64.b64decode(line) for line in path]
        assert tlog.included(tlog.leaf_hash(leaf), index, size, path, root)


def check_disputed(held):
    """Of the log's receipts one has a disputed line, and each marks what it has as it should; the other records do not."""
    found = []
    for index, leaf in enumerate(held["leaves"]):
        header, receipt = open_statement(bytes.fromhex(leaf))
        if header[3] == "application/vnd.tacit.joint-receipt+cbor":
            assert disputed_fault(receipt[1]) is None and single_fault(receipt[1]) is None, index
            found += [(index, at) for at, line in enumerate(receipt[1][9]) if 6 in line]
    assert found == [(7, 1)]
    for name, record in held["badly_marked"].items():
        record = loads(bytes.fromhex(record))
        assert disputed_fault(record) or single_fault(record), name


def check_openings(held):
    """Each opening opens the figure of its own receipt, and of no other."""
    for index, said in zip((2, 3), held["openings"]):
        said = bytes.fromhex(said)
        figures = []
        for leaf in (2, 3):
            _, receipt = open_statement(bytes.fromhex(held["leaves"][leaf]))
            bodies = [open_statement(attestation) for attestation in receipt[2]]
            figures += [(leaf, header[4], body[8]) for header, body in bodies if 8 in body]
        assert [leaf for leaf, _, found in figures if {1: 0, 2: commitment(said)} in found] == [index]
        assert [key for leaf, key, _ in figures if leaf == index] == [loads(said)[4]]


def check_change(held):
    """Follows the log to its next key, from the trust file's."""
    changes = loads(bytes.fromhex(held["trust_with_change"]))[8]
    keys = follow(held["log_key"], changes)
    assert changes == [bytes.fromhex(held["key_rotation"])] and keys[-1][0] == held["next_log_key"]
    for note, signers in (("checkpoint_in_overlap", [1, 0]), ("checkpoint_after", [1])):
        text, lines = tlog.split_note(held[note])
        lines = lines.splitlines()
        assert all(tlog.check_line(keys[k][0], text, line) for k, line in zip(signers, lines))
        cosigned = lines[len(signers):]
        times = [tlog.check_line(w, text, line) for w in held["witnesses"] for line in cosigned]
        times = [time for time in times if time]
        assert len(times) == QUORUM
        # By then the old key's time is over in the second.
        latest = max(times) * 1000
        assert (latest <= keys[0][2]) == (note == "checkpoint_in_overlap") and latest >= keys[1][1] // 1000 * 1000


def main(arguments):
    path = HERE / "log.json"
    found = made()
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if arguments == ["--write"]:
        path.write_text(text)
    elif arguments == ["--check"]:
        if path.read_text() != text:
            sys.exit(f"{path.name} is not what this script makes")
        check(json.loads(path.read_text()))
        check_disputed(json.loads(path.read_text()))
        check_openings(json.loads(path.read_text()))
        check_change(json.loads(path.read_text()))
        check_shard_change(json.loads(path.read_text()))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
