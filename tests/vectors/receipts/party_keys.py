#!/usr/bin/env python3
"""Changes of the keys of parties and witnesses, a second time: a log in which a node and a witness change their keys, made
from fixed seeds by docs/RECEIPTS.md, and read again by one who has the first keys alone.

    party_keys.py --write     write party_keys.json beside this file
    party_keys.py --check     compare it with what this script makes, and follow the keys in it again

`crates/receipts/tests/party_keys.rs` makes the same bytes with the crate, and verifies the bundles.
"""

import json
import pathlib
import sys

import log
import tlog
from log import COORDINATOR, ORIGIN, PARTIES, QUORUM, WITNESSES, choice, open_statement, statement
from tlog import dumps, loads, sha256

FILE = pathlib.Path(__file__).resolve().parent / "party_keys.json"
NEXT_NODE, THIRD_NODE, NEXT_WITNESS = bytes([180] * 32), bytes([181] * 32), bytes([90] * 32)
NEXT_COORDINATOR = bytes([22] * 32)
OVERLAP, LATE, SKEW, LONGEST = 3_600_000, 7 * 86_400_000, 300_000, 90 * 86_400_000
ROLES = ["node", "witness", "coordinator"]
LABEL = b"tacit-party-key-rotation/1\0"


def rotation(role, first, old, new, start, end):
    """One key of a party gives way to another: the old one signs it, the new one has signed the terms."""
    own = tlog.public_key(first)
    terms = {1: 1, 2: ORIGIN, 3: role, 4: own, 5: tlog.public_key(old), 6: tlog.public_key(new), 7: start, 8: end}
    agreed = tlog.sign(new, LABEL + dumps(terms))
    return statement(old, "party-key-rotation", f"{ROLES[role]}/{own.hex()}", start, terms | {9: agreed})


class Changing(log.Log):
    """A log of which the first party signs with the newest of its keys."""

    def __init__(self):
        super().__init__()
        self.seeds = list(PARTIES)

    def attest(self, i, record):
        first, PARTIES[i] = PARTIES[i], self.seeds[i]
        try:
            return super().attest(i, record)
        finally:
            PARTIES[i] = first

    def job(self, number):
        record = self.record(number, 1, choice(0), True, [choice(0)] * 3)
        self.close(record, [self.attest(i, record) for i in range(3)], [])

    def change(self, seed, overlap):
        self.append(rotation(0, PARTIES[0], self.seeds[0], seed, self.now, self.now + overlap))
        self.seeds[0] = seed


def cosigned(held, first):
    """The checkpoint of a log, cosigned by the first witness with a key of its own, and by the second."""
    note = tlog.checkpoint(ORIGIN, len(held.leaves), tlog.root(held.hashes()), log.LOG)
    text, _ = tlog.split_note(note)
    seconds = held.now // 1000
    for i, seed in enumerate([first, WITNESSES[1]]):
        signed = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        signature = seconds.to_bytes(8, "big") + tlog.sign(seed, signed)
        note += tlog.line(f"w.example/{i}", tlog.COSIGNATURE, tlog.public_key(seed), signature)
    return note


def made():
    held = Changing()
    held.job(1)
    held.change(NEXT_NODE, OVERLAP)
    held.append(rotation(1, WITNESSES[0], WITNESSES[0], NEXT_WITNESS, held.now, held.now + OVERLAP))
    held.job(2)
    held.now += 2 * OVERLAP
    held.change(THIRD_NODE, 0)
    held.job(3)
    changes = [leaf for leaf in held.leaves if open_statement(leaf)[0][3] == "application/vnd.tacit.party-key-rotation+cbor"]
    found = {
        "leaves": [leaf.hex() for leaf in held.leaves],
        "changes": [change.hex() for change in changes],
        "trust_with_changes": dumps(log.trust() | {9: changes}).hex(),
        "bundle": log.bundle(held, cosigned(held, NEXT_WITNESS)).hex(),
        "bundle_of_retired_witness": log.bundle(held, cosigned(held, WITNESSES[0])).hex(),
    }
    # The first key of all attests once more, long after its end.
    held.seeds[0] = PARTIES[0]
    held.job(4)
    return found | {"bundle_of_retired_key": log.bundle(held, cosigned(held, NEXT_WITNESS)).hex()} | coordinators()


def coordinators():
    """A log in which the coordinator changes the key that signs receipts; and the same with one of the old key after its end."""
    held, first = Changing(), log.COORDINATOR
    held.job(1)
    held.append(rotation(2, first, first, NEXT_COORDINATOR, held.now, held.now + OVERLAP))
    held.now += 2 * OVERLAP
    log.COORDINATOR = NEXT_COORDINATOR
    try:
        held.job(2)
    finally:
        log.COORDINATOR = first
    taken = log.bundle(held, cosigned(held, WITNESSES[0]))
    held.job(3)
    return {"bundle_of_next_coordinator": taken.hex(),
            "bundle_of_retired_coordinator": log.bundle(held, cosigned(held, WITNESSES[0])).hex()}


class Wrong(Exception):
    pass


def demand(holds, what):
    if not holds:
        raise Wrong(what)


class History:
    """The keys of each id: key, from, until, leaf."""

    def __init__(self, trust):
        nodes = [(0, party[2]) for party in trust[7]]
        witnesses = [(1, tlog.parse_vkey(key)[2]) for key in trust[5]]
        self.chains = {own: [[own[1], None, None, None]] for own in nodes + witnesses + [(2, trust[3])]}

    def follow(self, data, leaf):
        header, body = open_statement(data)
        terms = {k: v for k, v in body.items() if k != 9}
        role, own = body[3], body[4]
        demand(body[1] == 1 and body[2] == ORIGIN and header[15][2] == f"{ROLES[role]}/{own.hex()}", "another log or party")
        demand(header[4] == body[5] and body[6] not in (body[5], own), "not signed by the key that goes")
        demand(0 <= body[8] - body[7] <= LONGEST, "the overlap")
        demand(tlog.verify(body[6], LABEL + dumps(terms), body[9]), "not agreed to")
        demand((role, own) in self.chains, "nobody that is known")
        demand(all(span[0] != body[6] for chain in self.chains.values() for span in chain), "somebody's already")
        chain = self.chains[role, own]
        demand(chain[-1][0] == body[5], "another successor")
        demand(len(chain) == 1 or body[7] >= max(chain[-2][2], chain[-1][1]), "before the last overlap is over")
        chain[-1][2] = body[8]
        chain.append([body[6], body[7], None, leaf])

    def speaker(self, key, leaf, signed, newest, of=0):
        """The id for which a key signed: a node's, or of another role."""
        for (role, own), chain in self.chains.items():
            for held, start, end, named in chain:
                if role == of and held == key:
                    demand(named is None or leaf > named, "before it was named")
                    demand(start is None or signed + SKEW >= start, "before its time")
                    demand(end is None or (signed <= end and newest <= end + LATE + SKEW), "after its end")
                    return own
        raise Wrong("a stranger's key")

    def counted(self, note, newest):
        """How many witnesses have cosigned a note behind a receipt of a time."""
        text, lines = tlog.split_note(note)
        lines, count = lines.splitlines(), 0
        for i, seed in enumerate(WITNESSES):
            chain = self.chains[1, tlog.public_key(seed)]
            for key, start, end, _ in chain:
                vkey = tlog.vkey(f"w.example/{i}", tlog.COSIGNATURE, key)
                times = [tlog.check_line(vkey, text, line) for line in lines]
                at = next((1000 * time for time in times if time), None)
                held = at is not None and (start is None or start <= at + SKEW)
                if held and (end is None or (at <= end and newest <= end + SKEW)):
                    count += 1
                    break
        return count


def read(data):
    """Verifies keys, chains and attestations of a bundle's leaves by the first keys of its trust file."""
    bundle = loads(data)
    history, chains, newest = History(bundle[2]), {}, 0
    for index, leaf in enumerate(bundle[4]):
        header, body = open_statement(leaf)
        kind = header[3].removeprefix("application/vnd.tacit.").removesuffix("+cbor")
        if kind == "party-key-rotation":
            history.follow(leaf, index)
        elif kind == "joint-receipt":
            history.speaker(header[4], index, 1000 * header[15][6], newest, of=2)
            newest = max(newest, 1000 * header[15][6])
            signed = set()
            for said in body[2]:
                own, attestation = open_statement(said)
                who = history.speaker(own[4], index, 1000 * own[15][6], newest)
                demand(attestation[1] == sha256(dumps(body[1])) and who not in signed, "another record, or twice")
                signed.add(who)
                # One chain, whichever key continues it.
                demand((own[-70001], own[-70002]) == chains.get(who, (0, bytes(32))), "the chain of a party")
                chains[who] = (own[-70001] + 1, sha256(said))
            demand(signed == {party[1] for party in body[1][8]}, "somebody is missing")
    note = bundle[3].decode()
    demand(f"\n{len(bundle[4])}\n" in note, "the size")
    demand(history.counted(note, newest) >= bundle[2][6] == QUORUM, "the quorum")
    return history


def check(held):
    history = read(bytes.fromhex(held["bundle"]))
    assert [len(chain) for chain in history.chains.values()] == [3, 1, 1, 2, 1, 1, 1]
    history = read(bytes.fromhex(held["bundle_of_next_coordinator"]))
    assert [len(chain) for chain in history.chains.values()] == [1, 1, 1, 1, 1, 1, 2]
    for name, what in (("bundle_of_retired_key", "after its end"), ("bundle_of_retired_witness", "the quorum"),
                       ("bundle_of_retired_coordinator", "after its end")):
        try:
            read(bytes.fromhex(held[name]))
        except Wrong as wrong:
            assert str(wrong) == what, wrong
        else:
            sys.exit(f"{name} is taken")


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
