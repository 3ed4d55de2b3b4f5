#!/usr/bin/env python3
"""What went over the links of a job, a second time: seals, leaves, roots and the files that show a link, made from fixed seeds by
docs/RECEIPTS.md, and read again beside the receipt by one who did not make them.

    links.py --write     write links.json beside this file
    links.py --check     compare it with what this script makes, and check every link in it again

`crates/receipts/tests/link.rs` makes the same bytes with the crate, and verifies the bundle.
"""

import json
import pathlib
import sys

import log
import tlog
from log import PARTIES, choice, open_statement, statement
from tlog import dumps, loads, sha256

FILE = pathlib.Path(__file__).resolve().parent / "links.json"
SESSION = bytes([6] * 32)
SEAL_BYTES_MAX, LEAF_BYTES_MAX, PROOF_BYTES_MAX = 1024, 2 * 1024 + 64, 8 << 10
# The third party says of its link with the first that it sent a frame more, and the second's seal does not reach it.
LIE, SILENT = (2, 0), (1, 2)


def keys():
    return [tlog.public_key(seed) for seed in PARTIES]


def frames(start, end):
    """The frames from one party to another: bytes that nobody else sends."""
    return [bytes([start, end, n]) * (n + 1) for n in range(2 + start + end)]


def flow(record, start, end, session=SESSION):
    """Frames, bytes and chain of one direction."""
    label = b"tacit-link/1"
    chain = sha256(len(label).to_bytes(8, "little") + label + record[3] + record[17].to_bytes(8, "little") + session
                   + keys()[start] + keys()[end])
    sent = frames(start, end)
    for frame in sent:
        chain = sha256(chain + sha256(frame))
    return {1: len(sent), 2: sum(map(len, sent)), 3: chain}


def seal(record, start, end):
    sent, received = flow(record, start, end), flow(record, end, start)
    if (start, end) == LIE:
        sent[1] += 1
    body = {1: 1, 2: record[3], 3: record[17], 4: SESSION, 5: keys()[start], 6: keys()[end], 7: sent, 8: received}
    return statement(PARTIES[start], "link-seal", f"job/{record[3].hex()}/{record[17]}", record[15], body)


def others(i):
    """The other ends of a party's links, in the order of their keys."""
    return sorted((j for j in range(len(PARTIES)) if j != i), key=lambda j: keys()[j])


def leaf(record, i, j):
    """The link of two parties as the first of them has it."""
    seals = {i: seal(record, i, j)}
    if (j, i) != SILENT:
        seals[j] = seal(record, j, i)
    first, second = sorted((i, j), key=lambda n: keys()[n])
    return dumps({1: 1} | ({2: seals[first]} if first in seals else {}) | ({3: seals[second]} if second in seals else {}))


def root(record, i):
    return tlog.root([tlog.leaf_hash(leaf(record, i, j)) for j in others(i)])


def links(record):
    out = []
    for i in range(len(PARTIES)):
        entry = {1: i, 2: root(record, i)}
        differing = [a + b - i for a, b in (LIE,) if i in (a, b)]
        out.append(entry | ({3: differing} if differing else {}) | ({4: 1} if i == SILENT[1] else {}))
    return out


def proof(record, i, j):
    place = others(i).index(j)
    hashes = [tlog.leaf_hash(leaf(record, i, k)) for k in others(i)]
    path = tlog.inclusion(place, hashes)
    return dumps({1: 1, 2: record[3], 3: record[17], 4: keys()[i], 5: keys()[j], 6: place, 7: len(hashes), 8: path,
                  9: leaf(record, i, j)})


class Linked(log.Log):
    def __init__(self, altered=None):
        super().__init__()
        self.altered = altered

    def attest(self, i, record):
        """As every other attestation, with the root over the party's links."""
        seq, prev = self.chains[i]
        over = bytes(32) if i == self.altered else root(record, i)
        body = {1: sha256(dumps(record)), 2: record[8][i][2], 3: choice(0), 4: [], 5: over,
                7: {1: len(self.leaves), 2: tlog.root(self.hashes())}}
        said = statement(PARTIES[i], "attestation", f"job/{record[3].hex()}/{record[17]}", self.now, body, (seq, prev))
        self.chains[i] = (seq + 1, sha256(said))
        return said

    def job(self):
        record = self.record(1, 1, choice(0), True, [choice(0)] * 3, version=4)
        record[19] = links(record)
        self.close(record, [self.attest(i, record) for i in range(3)], [])
        return record


def made():
    held, other = Linked(), Linked(altered=1)
    record = held.job()
    other.job()
    ends = [(i, j) for i in range(len(PARTIES)) for j in others(i)]
    return {
        "session": SESSION.hex(), "trust": dumps(log.trust()).hex(),
        "bundle": log.bundle(held, log.cosigned(held)).hex(),
        "bundle_of_another_root": log.bundle(other, log.cosigned(other)).hex(),
        "frames": [frame.hex() for frame in frames(0, 1)], "seal": sha256(seal(record, 0, 1)).hex(),
        "proofs": [proof(record, i, j).hex() for i, j in ends],
        "states": [state(record, i, j) for i, j in ends],
    }


def state(record, i, j):
    if (j, i) == SILENT:
        return "unsealed"
    return "differs" if {i, j} == set(LIE) else "sealed"


def demand(holds, what):
    if not holds:
        sys.exit(f"a link does not hold: {what}")


def fault(record):
    """What is wrong with what a record says of links."""
    linked, count = record.get(19, []), len(record[8])
    if bool(linked) != (record[1] == 4):
        return "links, or none, in this version"
    if linked and (count > 64 or record[17] == 0):
        return "links of too many parties, or of no attempt"
    seats = [entry[1] for entry in linked]
    if seats != sorted(set(seats)) or any(seat >= count for seat in seats):
        return "links out of order, twice, or of nobody"
    for entry in linked:
        ends = entry.get(3, [])
        if ends != sorted(set(ends)) or any(end >= count or end == entry[1] for end in ends):
            return "other ends out of order, twice, or nobody"
        if len(ends) + entry.get(4, 0) >= count or entry.get(3) == [] or entry.get(4) == 0:
            return "more links than there are, or a field without a value"
    return None


def read_seal(data, record, signer, end):
    """The body of a seal that one end of a link in this attempt has signed."""
    demand(len(data) <= SEAL_BYTES_MAX, "the length of a seal")
    header, body = open_statement(data)
    demand(header[3] == "application/vnd.tacit.link-seal+cbor" and -70001 not in header, "the type of a seal")
    demand(header[4] == signer == body[5] and body[6] == end and body[1] == 1, "whose seal it is")
    demand((body[2], body[3]) == (record[3], record[17]), "the attempt")
    demand(header[15][2] == f"job/{record[3].hex()}/{record[17]}", "the subject")
    return body


def read_link(data, record):
    """What a file shows beside a receipt: the seals of the two ends, and how the link stands."""
    demand(len(data) <= PROOF_BYTES_MAX, "the length of the file")
    proof = loads(data)
    demand(dumps(proof) == data and (proof[1], proof[2], proof[3]) == (1, record[3], record[17]), "its attempt")
    party, peer = proof[4], proof[5]
    ends = sorted(entry[1] for entry in record[8] if entry[1] != party)
    demand(ends.index(peer) == proof[6] and len(ends) == proof[7], "its place")
    seat = [entry[1] for entry in record[8]].index(party)
    entry = next(entry for entry in record[19] if entry[1] == seat)
    demand(tlog.included(tlog.leaf_hash(proof[9]), proof[6], proof[7], proof[8], entry[2]), "its root")
    demand(len(proof[9]) <= LEAF_BYTES_MAX, "the length of a leaf")
    held = loads(proof[9])
    demand(dumps(held) == proof[9] and held[1] == 1 and set(held) <= {1, 2, 3}, "the form of a leaf")
    lesser, greater = sorted((party, peer))
    read = {signer: read_seal(held[field], record, signer, end)
            for field, signer, end in ((2, lesser, greater), (3, greater, lesser)) if field in held}
    demand(read, "no seal")
    if len(read) < 2:
        return party, peer, "unsealed"
    one, two = read[lesser], read[greater]
    demand(one[4] == two[4], "two sessions")
    return party, peer, "sealed" if (one[7], one[8]) == (two[8], two[7]) else "differs"


def check(held):
    leaves = loads(bytes.fromhex(held["bundle"]))[4]
    _, receipt = open_statement(leaves[2])
    record = receipt[1]
    demand(fault(record) is None, fault(record))
    parties = [entry[1] for entry in record[8]]
    for said in receipt[2]:
        header, body = open_statement(said)
        entry = record[19][parties.index(header[4])]
        demand(body[5] == entry[2] and body[1] == sha256(dumps(record)), "the root of an attestation")
    shown = [read_link(bytes.fromhex(data), record) for data in held["proofs"]]
    demand([state for _, _, state in shown] == held["states"], "the states")
    # What the record says of the links is what the links say.
    for seat, entry in enumerate(record[19]):
        own = [(peer, state) for party, peer, state in shown if party == parties[seat]]
        demand(sorted(parties.index(peer) for peer, state in own if state == "differs") == entry.get(3, []), "who differs")
        demand(sum(state == "unsealed" for _, state in own) == entry.get(4, 0), "how many are not sealed")
    _, wrong = open_statement(loads(bytes.fromhex(held["bundle_of_another_root"]))[4][2])
    unlike = [open_statement(said) for said in wrong[2]]
    unlike = [header[4] for header, body in unlike if body[5] != wrong[1][19][parties.index(header[4])][2]]
    demand(unlike == [parties[1]], "another root is seen")
    spoilt = [record | {1: 2}, record | {19: record[19][::-1]}, record | {19: [entry | {3: [entry[1]]} for entry in record[19]]},
              record | {19: [entry | {4: 3} for entry in record[19]]}, record | {17: 0}]
    demand(all(fault(one) for one in spoilt), "a record that is wrong")


def main(arguments):
    text = json.dumps(made(), indent=1, ensure_ascii=False) + "\n"
    if arguments == ["--write"]:
        FILE.write_text(text)
    elif arguments == ["--check"]:
        if FILE.read_text() != text:
            sys.exit(f"{FILE.name} is not what this script makes")
        check(json.loads(FILE.read_text()))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
