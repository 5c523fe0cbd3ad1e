#!/usr/bin/env python3
"""Computes the polynomials of detail/exponential.hpp and detail/divergence_rows.hpp and prints their coefficients and errors.

Needs Python 3 with mpmath and numpy. Each polynomial is a minimax fit of the wanted relative error; the coefficients are
then rounded one after another, from the constant up, and the rest is fitted again after each rounding. In double: Remez
exchange with 50 digits. In float, where rounding moves the rest far: weighted least squares, reweighted after Lawson.
"""
import math

import numpy as np
from mpmath import mp, mpf, matrix, lu_solve, log, fabs, cos, pi, frexp, ldexp, atanh, sqrt

mp.dps = 50


def remez(target, weight, lo, hi, powers, rounds=8):
    """Coefficients of sum c_k x^powers[k] that minimise max |weight (sum - target)| on [lo, hi], and that maximum."""
    count = len(powers) + 1
    points = [(lo + hi) / 2 + (hi - lo) / 2 * cos(pi * (count - 1 - k) / (count - 1)) for k in range(count)]
    points = [x if weight(x) > mpf(2) ** -40 else x + (hi - lo) / 64 for x in points]  # a weight of 0 tells nothing
    grid = [lo + (hi - lo) * k / 599 for k in range(600)]
    for _ in range(rounds):
        system, right = matrix(count), matrix(count, 1)
        for row, x in enumerate(points):
            for column, power in enumerate(powers):
                system[row, column] = weight(x) * x ** power
            system[row, count - 1] = (-1) ** row
            right[row] = weight(x) * target(x)
        solution = lu_solve(system, right)
        error = [weight(x) * (sum(solution[k] * x ** p for k, p in enumerate(powers)) - target(x)) for x in grid]
        extremes, start = [], 0
        for k in range(1, len(grid) + 1):          # the largest error of each run of one sign
            if k == len(grid) or (error[k] > 0) != (error[start] > 0):
                extremes.append(max(range(start, k), key=lambda j: fabs(error[j])))
                start = k
        if len(extremes) < count:
            break
        while len(extremes) > count:
            extremes.pop(0 if fabs(error[extremes[0]]) < fabs(error[extremes[-1]]) else -1)
        points = [grid[k] for k in extremes]
    return [solution[k] for k in range(count - 1)], max(fabs(e) for e in error)


def rounded(x, digits):
    mantissa, exponent = frexp(x)
    return ldexp(mp.nint(ldexp(mantissa, digits)), exponent - digits)


def fit(name, target, weight, lo, hi, powers, digits):
    """As remez, with coefficients of `digits` bits; prints them lowest power first."""
    fixed = []
    for step in range(len(powers)):
        # The rest divided by x^step, weighted with |x|^step: the basis keeps the constant, and its alternation, across 0.
        shift = powers[step]
        rest = lambda x: (target(x) - sum(c * x ** p for c, p in zip(fixed, powers))) / x ** shift
        scaled = lambda x: fabs(weight(x) * x ** shift)
        free, error = remez(rest, scaled, lo, hi, [p - shift for p in powers[step:]])
        if step == 0:
            print(f"{name}: minimax error 2^{float(log(error, 2)):.2f}")
        if step == 2:                               # rounding the rest costs next to nothing
            fixed += [rounded(c, digits) for c in free]
            break
        fixed.append(rounded(free[0], digits))
    grid = [lo + (hi - lo) * k / 1999 for k in range(2000)]
    error = max(fabs(weight(x) * (sum(c * x ** p for c, p in zip(fixed, powers)) - target(x))) for x in grid)
    print(f"  rounded to {digits} bits 2^{float(log(error, 2)):.2f}: " + ", ".join(float(c).hex() for c in fixed))


def fit_float(name, half):
    """2^r = 1 + r p(r) with coefficients of float, printed lowest power first."""
    x = np.cos(np.pi * (np.arange(801) + 0.5) / 801) * half
    target, weight = np.expm1(x * math.log(2)) / x, np.abs(x) / 2.0 ** x
    fixed = []
    for step in range(6):
        powers = np.stack([x ** p for p in range(step, 6)], 1)
        rest = target - sum((c * x ** p for p, c in enumerate(fixed)), np.zeros_like(x))
        importance, best = np.ones_like(x), (math.inf, None)
        for _ in range(400):
            scale = np.sqrt(importance) * weight
            free = np.linalg.lstsq(powers * scale[:, None], rest * scale, rcond=None)[0]
            error = np.abs(weight * (powers @ free - rest))
            best = min(best, (error.max(), free), key=lambda b: b[0])
            importance = importance * error
            importance = np.maximum(importance / importance.max(), 1e-14)
        if step == 0:
            print(f"{name}: minimax error 2^{math.log2(best[0]):.2f}")
        fixed.append(float(np.float32(best[1][0])))
    error = np.max(weight * np.abs(sum(c * x ** p for p, c in enumerate(fixed)) - target))
    print(f"  rounded to 24 bits 2^{math.log2(error):.2f}: " + ", ".join(c.hex() for c in fixed))


half = mpf(1) / 2 + mpf(2) ** -12
exp2_tail = lambda r: (mpf(2) ** r - 1) / r if r else log(2)   # 2^r = 1 + r p(r)
exp2_weight = lambda r: r / mpf(2) ** r if r else mpf(2) ** -80
# log((1 + s) / (1 - s)) = 2 s + s z p(z) with z = s s
log_tail = lambda z: (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z if z else mpf(2) / 3
limit = (3 - 2 * sqrt(mpf(2))) ** 2 * (1 + mpf(2) ** -10)

fit_float("exp2 float", float(half))
fit("exp2 double", exp2_tail, exp2_weight, -half, half, list(range(11)), 53)
fit("log double", log_tail, lambda z: z / 2, mpf(2) ** -40, limit, list(range(7)), 53)
# The same for the digits of floats, and f up to 2^0.5862.
reach = mpf(2) ** mpf("0.5862")
fit("log for floats", log_tail, lambda z: z / 2, mpf(2) ** -40, ((reach - 1) / (reach + 1)) ** 2, list(range(4)), 53)
for name, digits in (("log2(e)", 53), ("ln(2)", 53)):
    value = 1 / log(2) if name == "log2(e)" else log(2)
    high = rounded(value, digits)
    print(name, float(high).hex(), float(rounded(value - high, digits)).hex())
high = rounded(log(2), 32)
print("ln(2) of 32 bits", float(high).hex(), float(rounded(log(2) - high, 53)).hex())

# 1 - exp(-a) = a - a a p(a) on [0, 1]: what the divergence of two distributions is made of.
divergence_tail = lambda a: (a - 1 + mp.exp(-a)) / a ** 2
for name, count, digits in (("float", 7, 24), ("double", 12, 53)):
    fit(f"divergence {name}", divergence_tail, lambda a: 1 / divergence_tail(a), mpf(2) ** -40, mpf(1), list(range(count)), digits)
