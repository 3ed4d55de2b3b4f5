#!/usr/bin/env python3
"""Makes fixtures.json: what others compute of the same noise and the same costs.

Needs mpmath 1.4.1, opendp 0.16.0 and dp-accounting 0.6.0.
"""

import json
import math
import pathlib

import dp_accounting as dpa
import opendp.prelude as dp
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp
from mpmath import besseli, exp, floor, log, mp, mpf, power

mp.dps = 60
dp.enable_features("contrib")


def laplace(num, den):
    scale = mpf(num) / den
    norm = (1 - exp(-1 / scale)) / (1 + exp(-1 / scale))
    return lambda k: norm * exp(-abs(k) / scale)


def gaussian(num, den):
    variance = mpf(num) / den
    reach = int(40 * math.sqrt(num / den)) + 40
    total = sum(exp(-mpf(k * k) / (2 * variance)) for k in range(-reach, reach + 1))
    return lambda k: exp(-mpf(k * k) / (2 * variance)) / total


def skellam(num, den):
    variance = mpf(num) / den
    return lambda k: exp(-variance) * besseli(abs(k), variance)


KINDS = {"laplace": laplace, "gaussian": gaussian, "skellam": skellam}
SHAPES = [("laplace", 1, 1), ("laplace", 7, 3), ("laplace", 200, 1), ("gaussian", 1, 9), ("gaussian", 3, 2),
          ("gaussian", 400, 1), ("gaussian", 250000, 1), ("skellam", 1, 2), ("skellam", 10, 3), ("skellam", 400, 1)]


def probabilities():
    out = []
    for kind, num, den in SHAPES:
        p = KINDS[kind](num, den)
        spread = math.sqrt(num / den) if kind != "laplace" else num / den
        places = sorted({0, 1, 2, 3} | {int(spread * f) for f in (1, 2, 3.5, 5, 7)})
        # In parts of 2^120, as text.
        out.append({"kind": kind, "num": num, "den": den,
                    "weights": [[k, str(int(floor(p(k) * power(2, 120))))] for k in places]})
    return out


def samples():
    """Draws of OpenDP: how often each number came."""
    out = []
    for kind, num, den in [("laplace", 7, 3), ("laplace", 20, 1), ("gaussian", 3, 2), ("gaussian", 400, 1)]:
        space = dp.atom_domain(T=int), dp.absolute_distance(T=int)
        if kind == "laplace":
            measurement = dp.m.make_laplace(*space, scale=num / den)
        else:
            measurement = dp.m.make_gaussian(*space, scale=math.sqrt(num / den))
        counts = {}
        for _ in range(20000):
            draw = measurement(0)
            counts[draw] = counts.get(draw, 0) + 1
        out.append({"kind": kind, "num": num, "den": den, "counts": sorted(counts.items())})
    return out


def orders():
    steps = range(65, 82)
    return list(range(2, 65)) + [(1 << (6 + (p - 65) // 4)) // 4 * (5 + (p - 65) % 4) for p in steps]


def costs():
    """Epsilon by the Renyi accountant of others over the same orders, and by the exact loss distribution."""
    out = []
    for sensitivity, sigma, times, delta in [(1, 1, 1, 1e-6), (1, 4, 1, 1e-9), (2, 10, 30, 1e-6), (1, 50, 1000, 1e-5),
                                             (3, 3, 1, 1e-6)]:
        accountant = rdp.RdpAccountant(orders())
        accountant.compose(dpa.GaussianDpEvent(sigma / sensitivity), times)
        exact = pld.from_discrete_gaussian_mechanism(sigma, sensitivity=sensitivity, value_discretization_interval=1e-4)
        exact = exact.self_compose(times) if times > 1 else exact
        out.append({"kind": "gaussian", "sensitivity": sensitivity, "spread": sigma, "times": times, "delta": delta,
                    "renyi": accountant.get_epsilon(delta), "exact": exact.get_epsilon_for_delta(delta)})
    for sensitivity, scale, times, delta in [(1, 1, 1, 1e-6), (1, 10, 20, 1e-6), (2, 8, 100, 1e-5)]:
        exact = pld.from_discrete_laplace_mechanism(1 / scale, sensitivity=sensitivity,
                                                    value_discretization_interval=1e-4)
        exact = exact.self_compose(times) if times > 1 else exact
        out.append({"kind": "laplace", "sensitivity": sensitivity, "spread": scale, "times": times, "delta": delta,
                    "exact": exact.get_epsilon_for_delta(delta)})
    return out


def divergences():
    """The Renyi divergence of Skellam noise from itself moved by the sensitivity, summed over the whole line."""
    out = []
    for variance, shift in [(1, 1), (4, 1), (50, 1), (50, 3), (400, 5)]:
        p = skellam(variance, 1)
        reach = int(30 * math.sqrt(variance)) + 60
        line = {k: p(k) for k in range(-reach - shift, reach + shift + 1)}
        for order in (2, 5, 16, 48):
            total = sum(power(line[k - shift], order) * power(line[k], 1 - order) for k in range(-reach, reach + 1))
            out.append({"variance": variance, "shift": shift, "order": order,
                        "cost": float(log(total) / (order - 1))})
    return out


here = pathlib.Path(__file__).parent
made = {"probabilities": probabilities(), "samples": samples(), "orders": orders(), "costs": costs(),
        "divergences": divergences()}
(here / "fixtures.json").write_text(json.dumps(made, separators=(",", ":")) + "\n")
