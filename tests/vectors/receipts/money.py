#!/usr/bin/env python3
"""The money of receipts, a second time: price plans, rating, division, netting and their CBOR, by docs/RECEIPTS.md
alone and with nothing but the standard library.

    money.py --write             write the golden vectors beside this file
    money.py --check             compare them with what this script computes
    money.py --stream N [SEED]   N random cases, one JSON object a line, for another implementation to repeat

The tests of the receipts crate read the vectors and a short stream; the long stream is
`cargo test -p tacit-receipts --test money -- --ignored`.
"""

import hashlib
import json
import pathlib
import random
import struct
import sys
from fractions import Fraction
from itertools import combinations
from math import factorial

HERE = pathlib.Path(__file__).resolve().parent
UNITS = ["job", "party", "cell_in", "cell_out", "cell_suppressed", "payload_byte", "row_scanned", "call", "row_asked",
         "cpu_ms", "memory_byte"]
CLASS_C = ("row_scanned", "cpu_ms", "memory_byte")
ITEMS = ["use", "subscription", "minimum", "maximum", "permitted"]
PPM = 10**6
AMOUNT_MAX = 10**15
PRICE_MAX = 10**15
U64 = 2**64


class Refused(Exception):
    """A stable code."""


# --- CBOR, RFC 8949 section 4.2.1 ---------------------------------------------------------------------------------

def head(major, n):
    assert 0 <= n < U64
    for size, mark in ((24, None), (2**8, 24), (2**16, 25), (2**32, 26), (U64, 27)):
        if n < size:
            if mark is None:
                return bytes([major << 5 | n])
            return bytes([major << 5 | mark]) + n.to_bytes(1 << (mark - 24), "big")
    raise AssertionError


def cbor(value):
    if isinstance(value, bool):
        raise TypeError("no statement has a truth value")
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        # A field without a value is left out.
        present = sorted((k, v) for k, v in value.items() if v is not None)
        return head(5, len(present)) + b"".join(cbor(k) + cbor(v) for k, v in present)
    raise TypeError(type(value))


def raw(text):
    return bytes.fromhex(text)


def variant(index, fields=None):
    return [index, fields or {}]


# --- bodies -------------------------------------------------------------------------------------------------------

def unit(word):
    return UNITS.index(word)


def schedule_body(s):
    if "each" in s:
        return variant(0, {1: s["each"]})
    (name, tiers), = s.items()
    rows = [{1: up_to, 2: micro} for up_to, micro in tiers]
    return variant({"graduated": 1, "volume": 2}[name], {1: rows})


def regime_body(r):
    if r == "market":
        return variant(0)
    if r == "free":
        return variant(2)
    ceilings = [{1: unit(u), 2: micro} for u, micro in r["ceilings"]]
    return variant(1, {1: ceilings, 2: r["subscription_ceiling"], 3: r["revenue_max"], 4: r["carry_max"]})


def split_body(s):
    if s == "equal":
        return variant(0)
    if s == "leave_one_out":
        return variant(3)
    if s == "shapley":
        return variant(4)
    (name, arg), = s.items()
    index, arg = {
        "fixed": (1, arg),
        "proportional": (2, unit(arg) if isinstance(arg, str) else arg),
        "sampled": (5, arg),
    }[name]
    return variant(index, {1: arg})


def plan_body(p):
    prices = [
        {
            1: unit(q["unit"]),
            2: {"every": 0, "payees": 1}[q["counted"]],
            3: q["free"],
            4: schedule_body(q["schedule"]),
            5: q["minimum"],
            6: q["maximum"],
        }
        for q in p["prices"]
    ]
    commission = p["commission"] and {1: raw(p["commission"][0]), 2: p["commission"][1]}
    return {
        1: p["version"],
        2: raw(p["contract"]),
        3: p["currency"],
        4: regime_body(p["regime"]),
        5: raw(p["payer"]),
        6: [raw(x) for x in p["payees"]],
        7: prices,
        8: p["subscription"],
        9: p["minimum"],
        10: p["maximum"],
        11: split_body(p["split"]),
        12: commission,
        13: raw(p["arbiter"]) if p["arbiter"] else None,
        14: p["dispute_window_ms"],
        15: p["valid_from"],
        16: p["valid_until"],
    }


def plan_id(p):
    return hashlib.sha256(cbor(plan_body(p))).digest()


def period_body(p):
    return dict(zip((1, 2, 3, 4), p))


def valuation_body(v, plan):
    return {
        1: 1,
        2: v["origin"],
        3: plan_id(plan),
        4: period_body(v["period"]),
        5: v["seed"] and {1: v["seed"][0], 2: raw(v["seed"][1])},
        6: [{1: mask, 2: value} for mask, value in v["values"]],
        7: v["note"].encode() if v["note"] else None,
    }


def lines_body(lines):
    return [{1: ITEMS.index(i), 2: None if u is None else unit(u), 3: q, 4: fen} for i, u, q, fen in lines]


def dues_body(dues):
    return [{1: raw(party), 2: fen} for party, fen in dues]


def charge_body(origin, plan, period, as_of, rated, before, carried_in, shares, causes, valuation):
    lines, total, carried_out = rated
    return {
        1: 1, 2: origin, 3: plan_id(plan), 4: period_body(period), 5: as_of, 6: lines_body(lines), 7: total,
        8: before, 9: total - before, 10: carried_in, 11: carried_out, 12: dues_body(shares), 13: causes, 14: valuation,
    }


# --- rating -------------------------------------------------------------------------------------------------------

def half_even(numerator, denominator):
    # Python rounds fractions half to even.
    return round(Fraction(numerator, denominator))


def amount(fen):
    if not 0 <= fen <= AMOUNT_MAX:
        raise Refused("receipt.amount")
    return fen


def check_plan(p):
    """Raises the code of the first rule that does not hold. Each random case breaks one rule at most."""
    def need(holds, code="receipt.plan"):
        if not holds:
            raise Refused(code)

    def ordered(lo, hi):
        return lo is None or hi is None or lo <= hi

    def increasing(xs, most):
        return len(xs) <= most and all(a < b for a, b in zip(xs, xs[1:]))

    need(p["version"] == 1)
    need(len(p["currency"]) == 3 and all("A" <= c <= "Z" for c in p["currency"]))
    need(p["payees"] and increasing(p["payees"], 128))
    need(p["payer"] not in p["payees"])
    need(increasing([unit(q["unit"]) for q in p["prices"]], 32))
    for q in p["prices"]:
        need(q["unit"] not in CLASS_C, "receipt.not_billable")
        need(all(m <= PRICE_MAX for m in micros(q["schedule"])))
        need(all(b is None or b <= AMOUNT_MAX for b in (q["minimum"], q["maximum"])))
        need(ordered(q["minimum"], q["maximum"]))
        if "each" not in q["schedule"]:
            (tiers,) = q["schedule"].values()
            bounds = [up_to for up_to, _ in tiers]
            need(bounds and bounds[-1] is None and None not in bounds[:-1])
            need(increasing(bounds[:-1], 31) and bounds[0] != 0)
    need(all(b is None or b <= AMOUNT_MAX for b in (p["subscription"], p["minimum"], p["maximum"])))
    need(ordered(p["minimum"], p["maximum"]))
    need(p["valid_from"] < p["valid_until"])
    need(p["dispute_window_ms"] <= 366 * 86_400_000)
    if p["commission"]:
        need(p["commission"][1] <= PPM and p["commission"][0] != p["payer"])
    n, split = len(p["payees"]), p["split"]
    if split == "leave_one_out":
        need(n <= 32)
    elif split == "shapley":
        need(n <= 6)
    elif split != "equal":
        (name, arg), = split.items()
        if name == "fixed":
            need(len(arg) == n and sum(arg) == PPM)
        elif name == "proportional":
            need(arg not in CLASS_C, "receipt.not_billable")
        else:
            need(n <= 32 and arg > 0 and n * arg <= 2048)
    regime = p["regime"]
    if regime == "free":
        free = all(m == 0 for q in p["prices"] for m in micros(q["schedule"]))
        free = free and not any(q["minimum"] for q in p["prices"])
        need(free and not p["subscription"] and not p["minimum"], "receipt.regime")
    elif regime != "market":
        need(increasing([unit(u) for u, _ in regime["ceilings"]], 32))
        need(regime["revenue_max"] <= AMOUNT_MAX and regime["carry_max"] <= AMOUNT_MAX)
        ceilings = dict(regime["ceilings"])
        for q in p["prices"]:
            need(q["unit"] in ceilings, "receipt.regime")
            need(max(micros(q["schedule"])) <= ceilings[q["unit"]], "receipt.regime")
        need(p["minimum"] is None and all(q["minimum"] is None for q in p["prices"]), "receipt.regime")
        need(p["subscription"] <= regime["subscription_ceiling"], "receipt.regime")


def micros(schedule):
    (kind, arg), = schedule.items()
    return [arg] if kind == "each" else [micro for _, micro in arg]


def cost(schedule, quantity):
    (kind, arg), = schedule.items()
    if kind == "each":
        return quantity * arg
    if kind == "volume":
        return next(quantity * micro for up_to, micro in arg if up_to is None or quantity <= up_to)
    total, start = 0, 0
    for up_to, micro in arg:
        stop = quantity if up_to is None else min(up_to, quantity)
        total += max(0, stop - start) * micro
        start = max(start, stop)
    return total


def rate(p, usage, carried):
    """usage: [[unit, party, quantity]]. Gives the lines, the total and what is carried on."""
    check_plan(p)
    lines = []

    def add(item, u, quantity, fen):
        lines.append((item, u, quantity, fen))
        amount(sum(line[3] for line in lines))

    def bound(u, part, least, most):
        if least is not None and part < least:
            add("minimum", u, 0, least - part)
        if most is not None and part > most:
            add("maximum", u, 0, most - part)

    for q in p["prices"]:
        mine = [n for u, party, n in usage if u == q["unit"] and (q["counted"] == "every" or party in p["payees"])]
        quantity = sum(mine)
        if quantity >= U64:
            raise Refused("receipt.amount")
        fen = amount(half_even(cost(q["schedule"], max(0, quantity - q["free"])), 10**4))
        add("use", q["unit"], quantity, fen)
        bound(q["unit"], fen, q["minimum"], q["maximum"])
    if p["subscription"]:
        add("subscription", None, 1, p["subscription"])
    bound(None, sum(line[3] for line in lines), p["minimum"], p["maximum"])
    total, left = sum(line[3] for line in lines), 0
    if isinstance(p["regime"], dict):
        allowed = p["regime"]["revenue_max"] + carried
        if total > allowed:
            add("permitted", None, 0, allowed - total)
            total = allowed
        left = min(allowed - total, p["regime"]["carry_max"])
    return lines, total, left


def used(lines, rulings, corrections):
    """lines: [[unit, party, quantity, [[party, count]]]] of receipts that count, with the counts of observers that differ from
    the quantity; rulings: [[line, "stands" or "void"]]; corrections: [[line, quantity]], each on a line of these. Gives what is
    rated, and how many lines are left out because their observers differ and nothing is ruled."""
    rulings, corrections = dict(map(tuple, rulings)), dict(map(tuple, corrections))
    usage, left_out = [], 0
    for at, (u, party, quantity, differing) in enumerate(lines):
        ruled = rulings.get(at)
        left_out += bool(differing) and ruled is None
        if u in CLASS_C or ruled == "void" or (differing and ruled is None):
            continue
        usage.append([u, party, corrections.get(at, quantity)])
    return usage, left_out


# --- division -----------------------------------------------------------------------------------------------------

def largest_remainder(total, weights):
    """weights: {party: weight}."""
    if sum(weights.values()) == 0:
        weights = dict.fromkeys(weights, 1)
    exact = {party: Fraction(total * w, sum(weights.values())) for party, w in weights.items()}
    parts = {party: int(x) for party, x in exact.items()}
    by_remainder = sorted(exact, key=lambda party: (parts[party] - exact[party], party))
    for party in by_remainder[: total - sum(parts.values())]:
        parts[party] += 1
    return parts


def label(text):
    return field(text.encode())


def field(data):
    return struct.pack("<Q", len(data)) + data


def orders(p, period, seed, samples):
    size, root = seed
    key = hashlib.sha256(
        label("tacit-money/1/shapley") + plan_id(p) + struct.pack("<QQQ", period[0], period[1], size) + raw(root)
    ).digest()

    def stream():
        block = 0
        while True:
            data = hashlib.sha256(label("tacit-money/1/draw") + key + struct.pack("<Q", block)).digest()
            yield from struct.unpack("<4Q", data)
            block += 1

    draws = stream()
    for _ in range(samples):
        order = list(range(len(p["payees"])))
        for i in range(len(order) - 1, 0, -1):
            while True:
                x = next(draws)
                if x < U64 // (i + 1) * (i + 1):
                    break
            j = x % (i + 1)
            order[i], order[j] = order[j], order[i]
        yield order


def coalitions(p, period, seed):
    n, split = len(p["payees"]), p["split"]
    whole = 2**n - 1
    if split == "shapley":
        return list(range(1, whole + 1))
    if split == "leave_one_out":
        return sorted({whole, *(whole ^ 1 << i for i in range(n))} - {0})
    seen = set()
    if isinstance(split, dict) and "sampled" in split and seed:
        for order in orders(p, period, seed, split["sampled"]):
            for k in range(1, n + 1):
                seen.add(sum(1 << i for i in order[:k]))
    return sorted(seen)


def worth(p, valuation):
    n, split = len(p["payees"]), p["split"]
    seed = valuation["seed"]
    if bool(seed) != (isinstance(split, dict) and "sampled" in split):
        raise Refused("receipt.plan")
    v = dict(map(tuple, valuation["values"]))
    if sorted(v) != coalitions(p, valuation["period"], seed):
        raise Refused("receipt.plan")
    v[0] = 0
    whole = 2**n - 1
    if split == "leave_one_out":
        return [v[whole] - v[whole ^ 1 << i] for i in range(n)]
    if split == "shapley":
        out = []
        for i in range(n):
            rest = [j for j in range(n) if j != i]
            phi = Fraction(0)
            for size in range(n):
                for members in combinations(rest, size):
                    mask = sum(1 << j for j in members)
                    chance = Fraction(factorial(size) * factorial(n - size - 1), factorial(n))
                    phi += chance * (v[mask | 1 << i] - v[mask])
            out.append(phi * factorial(n))
        return out
    out = [0] * n
    for order in orders(p, valuation["period"], seed, split["sampled"]):
        before = 0
        for i in order:
            out[i] += v[before | 1 << i] - v[before]
            before |= 1 << i
    return out


def share(p, total, usage, valuation):
    taken = half_even(total * p["commission"][1], PPM) if p["commission"] else 0
    split, payees = p["split"], p["payees"]
    if split == "equal":
        weights = [1] * len(payees)
    elif isinstance(split, dict) and "fixed" in split:
        weights = split["fixed"]
    elif isinstance(split, dict) and "proportional" in split:
        weights = [sum(n for u, who, n in usage if u == split["proportional"] and who == party) for party in payees]
    else:
        if valuation is None:
            raise Refused("receipt.unagreed")
        weights = [max(0, w) for w in worth(p, valuation)]
    parts = largest_remainder(total - taken, dict(zip(payees, weights)))
    if p["commission"]:
        party = p["commission"][0]
        parts[party] = parts.get(party, 0) + taken
    return sorted(parts.items())


def net(owed):
    """owed: [(payer, [(party, fen)])]. Gives positions and payments."""
    positions, matrix = {}, {}
    for payer, dues in owed:
        for party, fen in dues:
            positions[payer] = positions.get(payer, 0) - fen
            positions[party] = positions.get(party, 0) + fen
            matrix[payer, party] = matrix.get((payer, party), 0) + fen
    payments = []
    for (a, b) in sorted(set(matrix) | {(b, a) for a, b in matrix}):
        fen = matrix.get((a, b), 0) - matrix.get((b, a), 0)
        if fen > 0:
            payments.append((a, b, fen))
    assert sum(positions.values()) == 0
    return sorted(positions.items()), payments


# --- random cases -------------------------------------------------------------------------------------------------

def ids(rng, n):
    return sorted(rng.randbytes(32).hex() for _ in range(n))


def quantity(rng):
    return rng.choice([0, 1, rng.randrange(100), rng.randrange(10**6), rng.randrange(2**40), rng.randrange(U64)])


def price(rng):
    # Halves of a fen are what rounding is about.
    return rng.choice([0, 1, 5000, 15000, rng.randrange(10**4), 5000 * rng.randrange(100), rng.randrange(10**9), rng.randrange(PRICE_MAX)])


def money(rng):
    return rng.choice([0, 1, rng.randrange(1000), rng.randrange(10**8), rng.randrange(AMOUNT_MAX)])


def maybe(rng, make):
    return make() if rng.random() < 0.25 else None


def bounds(rng):
    lo, hi = maybe(rng, lambda: money(rng)), maybe(rng, lambda: money(rng))
    return (hi, lo) if lo is not None and hi is not None and lo > hi else (lo, hi)


def random_schedule(rng):
    kind = rng.choice(["each", "graduated", "volume"])
    if kind == "each":
        return {"each": price(rng)}
    cuts = sorted({rng.choice([rng.randrange(1, 50), rng.randrange(1, 10**6), rng.randrange(1, U64)]) for _ in range(rng.randrange(5))})
    return {kind: [[up_to, price(rng)] for up_to in cuts] + [[None, price(rng)]]}


def random_plan(rng):
    n = rng.choice([1, 1, 2, 3, 4, 6, 9, 20])
    keys = ids(rng, n + 4)
    rng.shuffle(keys)
    payer, stranger, arbiter, taker, *payees = keys
    payees.sort()
    prices = []
    for word in sorted(rng.sample([u for u in UNITS if u not in CLASS_C], rng.randrange(5)), key=UNITS.index):
        lo, hi = bounds(rng)
        prices.append({
            "unit": word, "counted": rng.choice(["every", "payees"]), "free": rng.choice([0, 0, rng.randrange(1000)]),
            "schedule": random_schedule(rng), "minimum": lo, "maximum": hi,
        })
    lo, hi = bounds(rng)
    p = {
        "version": 1, "contract": rng.randbytes(32).hex(), "currency": rng.choice(["CNY", "HKD", "EUR"]), "regime": "market",
        "payer": payer, "payees": payees, "prices": prices, "subscription": rng.choice([0, money(rng)]),
        "minimum": lo, "maximum": hi, "split": random_split(rng, n),
        "commission": rng.choice([None, [taker, rng.randrange(PPM + 1)], [payees[0], rng.randrange(10**5)]]),
        "arbiter": rng.choice([None, arbiter]), "dispute_window_ms": rng.randrange(10**9),
        "valid_from": 1000, "valid_until": 10**13,
    }
    regime = rng.random()
    if regime < 0.3:
        for q in prices:
            q["minimum"] = None
        p["minimum"] = None
        p["regime"] = {
            "ceilings": [[q["unit"], max(micros(q["schedule"])) + rng.randrange(2)] for q in prices],
            "subscription_ceiling": p["subscription"] + rng.randrange(2), "revenue_max": money(rng), "carry_max": money(rng),
        }
    elif regime < 0.4:
        p["regime"], p["subscription"], p["minimum"] = "free", 0, None
        for q in prices:
            q["minimum"] = None
            (kind, arg), = q["schedule"].items()
            q["schedule"] = {kind: 0 if kind == "each" else [[up_to, 0] for up_to, _ in arg]}
    return p, stranger


def random_split(rng, n):
    cuts = sorted(rng.randrange(PPM + 1) for _ in range(n - 1))
    choices = [
        "equal",
        {"fixed": [b - a for a, b in zip([0, *cuts], [*cuts, PPM])]},
        {"proportional": rng.choice([u for u in UNITS if u not in CLASS_C])},
        "leave_one_out",
        {"sampled": rng.choice([1, 3, 16])},
    ]
    if n <= 6:
        choices.append("shapley")
    return rng.choice(choices)


def spoil(rng, p):
    """Breaks one rule, or none."""
    q = rng.choice(p["prices"]) if p["prices"] else None
    which = rng.randrange(14)
    if which == 0:
        p["version"] = 2
    elif which == 1:
        p["currency"] = rng.choice(["cny", "CN", "CNYY", "C Y"])
    elif which == 2:
        p["payees"] = []
    elif which == 3:
        p["payees"][0] = p["payer"]
    elif which == 4 and q:
        q["unit"] = rng.choice(CLASS_C)
    elif which == 5 and q and "each" not in q["schedule"]:
        (tiers,) = q["schedule"].values()
        tiers[-1][0] = U64 - 1
    elif which == 6:
        p["minimum"], p["maximum"] = 2, 1
    elif which == 7:
        p["valid_until"] = p["valid_from"]
    elif which == 8 and p["commission"]:
        p["commission"][1] = PPM + 1
    elif which == 9:
        p["split"] = {"fixed": [PPM - 1] + [0] * (len(p["payees"]) - 1)}
    elif which == 10 and isinstance(p["regime"], dict) and q:
        p["regime"]["ceilings"] = [[u, m] for u, m in p["regime"]["ceilings"] if u != q["unit"]]
    elif which == 11 and p["regime"] == "free":
        p["subscription"] = 1
    elif which == 12:
        p["dispute_window_ms"] = 366 * 86_400_000 + 1
    elif which == 13:
        p["split"] = {"proportional": rng.choice(CLASS_C)}


def random_case(rng):
    p, stranger = random_plan(rng)
    if rng.random() < 0.15:
        spoil(rng, p)
    parties = [*p["payees"], p["payer"], stranger]
    usage = [[rng.choice(UNITS), rng.choice(parties), quantity(rng)] for _ in range(rng.randrange(12))]
    first = rng.randrange(2, 1000)
    period = [first, first + rng.randrange(1, 1000), 2000, 3000 + rng.randrange(10**6)]
    return case(p, usage, money(rng) if isinstance(p["regime"], dict) else 0, period, random_valuation(rng, p, period))


def random_valuation(rng, p, period):
    split = p["split"]
    if split not in ("leave_one_out", "shapley") and not (isinstance(split, dict) and "sampled" in split):
        return None
    if rng.random() < 0.05:
        return None
    seed = [period[1] + rng.randrange(9), rng.randbytes(32).hex()] if isinstance(split, dict) else None
    masks = coalitions(p, period, seed)
    if rng.random() < 0.05 and masks:
        masks.pop(rng.randrange(len(masks)))
    most = rng.choice([10, 10**6, U64])
    return {
        "origin": "log.example/usage/2026", "period": period, "seed": seed, "note": "note" if seed else None,
        "values": [[mask, rng.randrange(most)] for mask in masks],
    }


def case(p, usage, carried, period, valuation):
    out = {
        "plan": p, "plan_cbor": cbor(plan_body(p)).hex(), "usage": usage, "carried": carried, "period": period,
        "valuation_cbor": cbor(valuation_body(valuation, p)).hex() if valuation else None,
    }
    # A sum that overflows anywhere is refused, whether a price counts it or not.
    totals = {}
    try:
        for u, party, n in usage:
            totals[u, party] = totals.get((u, party), 0) + n
            if totals[u, party] >= U64:
                raise Refused("receipt.amount")
        lines, total, left = rate(p, usage, carried)
        shares = share(p, total, usage, valuation)
    except Refused as refused:
        return out | {"refused": str(refused)}
    assert sum(fen for _, fen in shares) == total == sum(line[3] for line in lines)
    charge = charge_body(
        "log.example/usage/2026", p, period, period[1] + 7, (lines, total, left), 0, carried, shares, [],
        period[1] + 3 if valuation else None,
    )
    return out | {
        "plan_id": plan_id(p).hex(), "lines": lines, "total": total, "carried_out": left, "shares": shares,
        "charge_cbor": cbor(charge).hex(),
    }


# --- golden vectors -----------------------------------------------------------------------------------------------

def party(n):
    return bytes([n] * 32).hex()


def base(**changes):
    plan = {
        "version": 1, "contract": party(0xC0), "currency": "CNY", "regime": "market", "payer": party(9),
        "payees": [party(1), party(2), party(3)], "prices": [], "subscription": 0, "minimum": None, "maximum": None,
        "split": "equal", "commission": None, "arbiter": None, "dispute_window_ms": 86_400_000,
        "valid_from": 1_790_000_000_000, "valid_until": 1_800_000_000_000,
    }
    return plan | changes


def priced(word, schedule, counted="every", free=0, minimum=None, maximum=None):
    return {"unit": word, "counted": counted, "free": free, "schedule": schedule, "minimum": minimum, "maximum": maximum}


NOVEMBER = [2, 40, 1_793_462_400_000, 1_796_054_400_000]


def golden_rating():
    tiers = [[10, 20000], [100, 10000], [None, 5000]]
    use = [["cell_in", party(1), 60], ["cell_in", party(2), 45], ["cell_in", party(3), 0], ["job", party(9), 7]]
    cell = lambda schedule, **more: [priced("cell_in", schedule, **more)]
    guided = {"ceilings": [["job", 1_000_000]], "subscription_ceiling": 0, "revenue_max": 500, "carry_max": 150}
    jobs = [priced("job", {"each": 1_000_000})]
    values3 = [[m, v] for m, v in zip(range(1, 8), [10, 20, 25, 0, 30, 20, 60])]

    def valued(values, seed=None):
        return {"origin": "log.example/usage/2026", "period": NOVEMBER, "seed": seed, "values": values, "note": "note" if seed else None}

    sampled = base(prices=jobs, split={"sampled": 2})
    seed = [44, party(0x5E)]
    drawn = [[m, 10 * m] for m in coalitions(sampled, NOVEMBER, seed)]
    cases = {
        "nothing has a price": (base(), use, 0, None),
        "a call costs 0.125: half a fen goes to the even one": (base(prices=[priced("call", {"each": 125_000})]), [["call", party(1), 1]], 0, None),
        "three calls at 0.125: again half a fen": (base(prices=[priced("call", {"each": 125_000})]), [["call", party(1), 3]], 0, None),
        "tiers, graduated": (base(prices=cell({"graduated": tiers})), use, 0, None),
        "tiers, by volume": (base(prices=cell({"volume": tiers})), use, 0, None),
        "a free quota": (base(prices=cell({"each": 10000}, free=100)), use, 0, None),
        "a free quota that is not used up": (base(prices=cell({"each": 10000}, free=1000)), use, 0, None),
        "a unit's minimum": (base(prices=cell({"each": 10000}, minimum=200)), use, 0, None),
        "a unit's maximum": (base(prices=cell({"each": 10000}, maximum=50)), use, 0, None),
        "a subscription and the plan's minimum": (base(prices=jobs, subscription=300, minimum=5000), use, 0, None),
        "a subscription and the plan's maximum": (base(prices=jobs, subscription=300, maximum=600), use, 0, None),
        "the payees' own use alone": (base(payees=[party(2)], prices=cell({"each": 10000}, counted="payees")), use, 0, None),
        "class C has no price": (base(prices=[priced("row_scanned", {"each": 1})]), use, 0, None),
        "processor time has no price": (base(prices=[priced("cpu_ms", {"each": 1})]), use, 0, None),
        "memory has no price": (base(prices=[priced("memory_byte", {"each": 1})]), use, 0, None),
        "class C is not what shares go by": (base(split={"proportional": "row_scanned"}), use, 0, None),
        "guided, below the permitted revenue": (base(prices=jobs, regime=guided), [["job", party(9), 3]], 0, None),
        "guided, above it": (base(prices=jobs, regime=guided), use, 0, None),
        "guided, above it with what was carried": (base(prices=jobs, regime=guided), use, 150, None),
        "guided, a price above its ceiling": (base(prices=[priced("job", {"each": 1_000_001})], regime=guided), use, 0, None),
        "guided, a price without a ceiling": (base(prices=cell({"each": 1}), regime=guided), use, 0, None),
        "guided, a minimum": (base(prices=jobs, minimum=1, regime=guided), use, 0, None),
        "guided, a unit's minimum": (base(prices=[priced("job", {"each": 1_000_000}, minimum=1)], regime=guided), use, 0, None),
        "guided, a subscription at its ceiling": (base(prices=jobs, subscription=50, regime=guided | {"subscription_ceiling": 50}), use, 0, None),
        "guided, a subscription above its ceiling": (base(prices=jobs, subscription=51, regime=guided | {"subscription_ceiling": 50}), use, 0, None),
        "guided, one tier above the ceiling": (base(prices=[priced("job", {"graduated": [[3, 1], [None, 1_000_001]]})], regime=guided), use, 0, None),
        "free for the public interest": (base(prices=cell({"each": 0}), regime="free"), use, 0, None),
        "free for the public interest, with a price": (base(prices=cell({"each": 1}), regime="free"), use, 0, None),
        "free for the public interest, with a subscription": (base(subscription=1, regime="free"), use, 0, None),
        "free for the public interest, with a minimum": (base(minimum=1, regime="free"), use, 0, None),
        "free for the public interest, with a unit's minimum": (base(prices=cell({"each": 0}, minimum=1), regime="free"), use, 0, None),
        "an amount over the limit": (base(prices=cell({"each": PRICE_MAX})), [["cell_in", party(1), U64 - 1]], 0, None),
        "a sum that overflows": (base(prices=cell({"each": 1})), [["cell_in", party(1), U64 - 1], ["cell_in", party(2), 1]], 0, None),
        "the largest amount": (base(prices=cell({"each": PRICE_MAX})), [["cell_in", party(1), 10_000]], 0, None),
        "shares by agreed parts": (base(prices=jobs, split={"fixed": [500_000, 333_333, 166_667]}), use, 0, None),
        "shares by own use": (base(prices=jobs, split={"proportional": "cell_in"}), use, 0, None),
        "shares by a use that nobody had": (base(prices=jobs, split={"proportional": "call"}), use, 0, None),
        "a commission": (base(prices=jobs, commission=[party(8), 12_345]), use, 0, None),
        "a commission of half a fen": (base(prices=jobs, commission=[party(8), 500]), [["job", party(9), 10]], 0, None),
        "a payee's commission": (base(prices=jobs, commission=[party(1), 100_000]), use, 0, None),
        "shares by what is lost without one": (base(prices=jobs, split="leave_one_out"), use, 0, valued([[3, 25], [5, 30], [6, 20], [7, 60]])),
        "shares by the Shapley value": (base(prices=jobs, split="shapley"), use, 0, valued(values3)),
        "one who harms the whole gets nothing": (base(prices=jobs, split="leave_one_out"), use, 0, valued([[3, 70], [5, 30], [6, 20], [7, 60]])),
        "a sampled Shapley value": (sampled, use, 0, valued(drawn, seed)),
        "a valuation of other coalitions": (base(prices=jobs, split="shapley"), use, 0, valued(values3[:-1])),
        "no valuation": (base(prices=jobs, split="shapley"), use, 0, None),
    }
    return {"cases": [{"name": name} | case(p, u, c, NOVEMBER, v) for name, (p, u, c, v) in cases.items()]}


def golden_settlement():
    """One job over the data of a public owner under a guided price, of a company at a market price, and of an agency
    that gives its data free of charge, each under a contract of its own: and a second payer who is owed as well."""
    use = [["cell_in", party(n), 1000] for n in (1, 2, 3)] + [["job", party(9), 2], ["call", party(4), 10]]
    mine = lambda micro: [priced("cell_in", {"each": micro}, counted="payees")]
    guided = {"ceilings": [["cell_in", 8000]], "subscription_ceiling": 0, "revenue_max": 600, "carry_max": 0}
    plans = [
        base(contract=party(0xC1), payees=[party(1)], prices=mine(8000), regime=guided, commission=[party(8), 30_000]),
        base(contract=party(0xC2), payees=[party(2), party(4)], prices=mine(12345), split={"fixed": [700_000, 300_000]}),
        base(contract=party(0xC3), payees=[party(3)], prices=mine(0), regime="free"),
        base(contract=party(0xC4), payer=party(4), payees=[party(2), party(9)], prices=[priced("call", {"each": 777_777})]),
    ]
    charges, owed = [], []
    for p in plans:
        one = case(p, use, 0, NOVEMBER, None)
        charges.append(one)
        owed.append((p["payer"], one["shares"]))
    positions, payments = net(owed)
    refs = [[50 + i, hashlib.sha256(b"\0" + raw(c["charge_cbor"])).hexdigest()] for i, c in enumerate(charges)]
    body = {
        1: 1, 2: "log.example/usage/2026", 3: "CNY",
        4: [{1: at, 2: raw(h)} for at, h in refs],
        5: dues_body(positions),
        6: [{1: raw(a), 2: raw(b), 3: fen} for a, b, fen in payments],
    }
    return {"charges": charges, "refs": refs, "positions": positions, "payments": payments, "settlement_cbor": cbor(body).hex()}


def golden_statements():
    origin, ref = "log.example/usage/2026", {1: 17, 2: raw(party(0xAA))}
    plan = raw(party(0xBB))
    bodies = {
        "period-close": {1: 1, 2: origin, 3: period_body(NOVEMBER), 4: 0, 5: 11, 6: 12,
                         7: [{1: raw(party(0xC1)), 2: 0, 3: 12}, {1: raw(party(0xC1)), 2: 2, 3: 12_000}]},
        "period-close without an attestation": {1: 1, 2: origin, 3: period_body(NOVEMBER), 6: 0, 7: []},
        "correction": {1: 1, 2: origin, 3: plan, 4: ref, 5: 1, 6: 1000, 7: 900, 8: "counted twice", 9: 23},
        "dispute": {1: 1, 2: origin, 3: plan, 4: ref, 5: 1, 6: "we sent 900", 7: [raw(party(0xE1))]},
        "dispute of a whole receipt": {1: 1, 2: origin, 3: plan, 4: ref, 6: "no such job", 7: []},
        "ruling": {1: 1, 2: origin, 3: ref, 4: 1, 5: "not proven", 6: []},
        "ruling on a line on which observers differ": {1: 1, 2: origin, 3: ref, 4: 1, 5: "not proven", 6: [], 7: {1: plan, 2: 3}},
        "dispute-answer": {1: 1, 2: origin, 3: ref, 4: "see the count", 5: [raw(party(0xE1))]},
        "dispute-answer on a line on which observers differ": {1: 1, 2: origin, 3: ref, 4: "see the count", 5: [], 6: {1: plan, 2: 3}},
        "period-close with lines on which observers differ": {1: 1, 2: origin, 3: period_body(NOVEMBER), 4: 0, 5: 11, 6: 12,
                                                              7: [{1: raw(party(0xC1)), 2: 0, 3: 12}], 8: 2},
        "charge without lines on which observers differ": {
            1: 1, 2: origin, 3: plan, 4: period_body(NOVEMBER), 5: 60, 6: lines_body([("use", "cell_in", 900, 900)]),
            7: 900, 8: 1000, 9: -100, 10: 0, 11: 0, 12: dues_body([[party(1), -60], [party(2), -40]]), 13: [23, 25], 15: 2},
        "charge that changes an earlier one": {
            1: 1, 2: origin, 3: plan, 4: period_body(NOVEMBER), 5: 60, 6: lines_body([("use", "cell_in", 900, 900)]),
            7: 900, 8: 1000, 9: -100, 10: 0, 11: 0, 12: dues_body([[party(1), -60], [party(2), -40]]), 13: [23, 25]},
    }
    return {"statements": [{"name": n, "type": n.split()[0], "cbor": cbor(b).hex(), "sha256": hashlib.sha256(cbor(b)).hexdigest()}
                           for n, b in bodies.items()]}


def golden_disputed():
    """Receipts of three parties, seats 0 to 2, some lines of which are disputed, ruled on and corrected; and what they cost."""
    p = base(prices=[priced("job", {"each": 5_000_000}), priced("cell_in", {"each": 1_234})])
    agreed = [["job", 0, 1, []], ["cell_in", 1, 20_000, []], ["cell_in", 2, 20_000, []]]
    one = [agreed[0], ["cell_in", 1, 30_000, [[0, 20_000], [2, 20_000]]], agreed[2]]
    # Who counts otherwise does so on every line: its own is disputed as well.
    all_of_them = [agreed[0], ["cell_in", 1, 20_000, [[2, 19_000]]], ["cell_in", 2, 19_000, [[0, 20_000], [1, 20_000]]]]
    own = ["row_scanned", 1, 7, []]
    cases = {
        "all agree": (agreed, [], []),
        "one gives itself more": (one, [], []),
        "one gives itself more, and it stands": (one, [[1, "stands"]], []),
        "one gives itself more, and it is void": (one, [[1, "void"]], []),
        "one gives itself more, and is corrected": (one, [[1, "stands"]], [[1, 20_000]]),
        "a correction alone ends no dispute": (one, [], [[1, 20_000]]),
        "one counts otherwise": (all_of_them, [], []),
        "one counts otherwise, and one line is ruled": (all_of_them, [[1, "stands"]], []),
        "one counts otherwise, and both are": (all_of_them, [[1, "stands"], [2, "void"]], []),
        "what nobody else counts is no dispute": (agreed + [own], [], []),
    }
    out = []
    for name, (lines, rulings, corrections) in cases.items():
        usage, left_out = used(lines, rulings, corrections)
        out.append({"name": name, "lines": lines, "rulings": rulings, "corrections": corrections,
                    "total": rate(p, usage, 0)[1], "disputed": left_out})
    return {"cases": out}


GOLDEN = {"disputed.json": golden_disputed, "rating.json": golden_rating, "settlement.json": golden_settlement, "statements.json": golden_statements}


def text_of(make):
    return json.dumps(make(), indent=1) + "\n"


def main(argv):
    if argv[:1] == ["--write"]:
        for name, make in GOLDEN.items():
            (HERE / name).write_text(text_of(make))
    elif argv[:1] == ["--check"]:
        wrong = [name for name, make in GOLDEN.items() if (HERE / name).read_text() != text_of(make)]
        if wrong:
            sys.exit(f"not what this script computes: {', '.join(wrong)}")
        print(f"{len(GOLDEN)} files hold")
    elif argv[:1] == ["--stream"] and len(argv) in (2, 3):
        rng = random.Random(int(argv[2]) if len(argv) == 3 else 1)
        for _ in range(int(argv[1])):
            sys.stdout.write(json.dumps(random_case(rng)) + "\n")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
