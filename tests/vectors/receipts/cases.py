#!/usr/bin/env python3
"""Statements of cases as bytes, a second implementation: RFC 8949, section 4.2.1, with the standard library alone.

    cases.py            write cases.json beside this file
    cases.py --check    fail unless cases.json is what this computes
"""

import hashlib
import json
import pathlib
import struct
import sys

FILE = pathlib.Path(__file__).with_name("cases.json")
ORIGIN = "log.example/usage/2026"
START = 1_795_000_000_000
DAY = 86_400_000
ACTS = ["answer", "contain", "notify", "object", "uphold", "dismiss", "close", "repair", "withdraw"]


def head(major, n):
    for info, (size, form) in {24: (1 << 8, ">B"), 25: (1 << 16, ">H"), 26: (1 << 32, ">I"), 27: (1 << 64, ">Q")}.items():
        if n < 24:
            return bytes([major << 5 | n])
        if n < size:
            return bytes([major << 5 | info]) + struct.pack(form, n)
    raise ValueError(n)


def cbor(value):
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return head(3, len(raw)) + raw
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    # Keys without a value are left out.
    pairs = sorted((key, item) for key, item in value.items() if item is not None)
    return head(5, len(pairs)) + b"".join(cbor(key) + cbor(item) for key, item in pairs)


def party(n):
    return bytes([n]) * 32


def leaf(index, n):
    return {1: index, 2: bytes([n]) * 32}


def opening(about, decider, leaves, topic, text, evidence, until):
    return {
        1: 1, 2: ORIGIN, 3: about, 4: decider, 5: leaves, 6: topic, 7: text, 8: evidence,
        9: START + 7 * DAY, 10: START + 30 * DAY, 11: until,
    }


def statements():
    yield "complaint", opening(party(1), party(2), [leaf(5, 7), leaf(300, 8)], "overuse", "more rows than agreed", [party(9)], None)
    yield "incident", opening(None, party(2), [], "leak", "备份遗失", [], None)
    yield "conduct-record", opening(party(1), party(2), [leaf(70_000, 3)], "late-payment", "", [], START + 365 * DAY)
    for act, _ in enumerate(ACTS):
        evidence = [party(4), party(5)] if act == 0 else []
        yield "case-step", {1: 1, 2: ORIGIN, 3: leaf(21, 6), 4: act, 5: ACTS[act], 6: evidence}


def computed():
    found = []
    for kind, body in statements():
        raw = cbor(body)
        found.append({"type": kind, "cbor": raw.hex(), "sha256": hashlib.sha256(raw).hexdigest()})
    return json.dumps({"acts": ACTS, "statements": found}, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != computed():
            sys.exit("cases.json is not what this computes")
    else:
        FILE.write_text(computed())
