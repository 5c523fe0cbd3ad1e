#!/usr/bin/env python3
"""Plausible bugs, put into the library one at a time; random cases against exact results must find each.

tools/mutations.py [--sample n] [--compiler c++] [name ...]

A copy of include/ gets the bug, tests/fuzz/interface.cpp is compiled on it for one instruction set and runs random cases. A bug
that survives, or does not compile, makes the exit code 1: a test is missing, or the line has moved and the bug has to be
written anew. --sample takes n of them, others every day.
"""

import argparse
import concurrent.futures
import datetime
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DETAIL = "softmax/detail/"
# A number of cases that no bug below has survived; enough for some seconds of run time.
CASES = "160000"

# name: file, what stands there, what a slip would have made of it. All occurrences are replaced.
MUTATIONS = {
    # exponentials
    "terms below the range are not clamped": (
        "exponential.hpp", "x[k] = larger(q[k * Stride].lowest, x[k]);", ""),
    "the lower word of log2(e) / T is left out": (
        "exponential.hpp", "opaque(l * q.hi + s * q.lo)", "opaque(l * q.hi)"),
    "the lower digits of a logit are left out": (
        "exponential.hpp", "opaque(l * q.hi + s * q.lo)", "opaque(s * q.lo)"),
    "log1p: a sign": ("exponential.hpp", "r + multiply_add(P{} - half, r, p)", "r + multiply_add(half, r, p)"),
    "log1p: what 1 + u rounds off is not put back": ("exponential.hpp", "lost / h));", "P{}));"),
    "log1p: one coefficient": ("exponential.hpp", "0x1.999999997f9fbp-2", "0x1.989999997f9fbp-2"),
    "log of a quotient: one coefficient": ("exponential.hpp", "0x1.999be2a1a8cc8p-2", "0x1.899be2a1a8cc8p-2"),
    "log of a quotient: k is rounded down": ("exponential.hpp", "(bits - top + (std::uint64_t{1} << 51))", "(bits - top)"),
    "the bias of terms is one off": (
        "exponential.hpp", "q.lowest = (n - splat<P>(bias))", "q.lowest = (n + splat<P>(bias))"),
    # sums of rows
    "the tail of a row is not seen by the maximum": (
        "rows.hpp", "a[1] = larger(load<P>(x + end - w), a[1]);", "a[1] = larger(a[1], a[1]);"),
    "the maximum stays in the sum": ("rows.hpp", "v[k] = v[k] * (one - top[k]); // exact", "v[k] = v[k] * one;"),
    "lanes seen before are added twice": (
        "rows.hpp", "lanes_from(skip[k], first, v[k] * (one - top[k]))", "v[k] * (one - top[k])"),
    "half of a block is not carried to the sum": (
        "rows.hpp", "part[2 * h + 1] = part[2 * h + 1] + convert<double>(half.high);", ""),
    "the last vector of a row is not scaled": (
        "rows.hpp", "store(y + n - w, times_at_most(last, hi, lo, bound));", ""),
    "the divisor leaves the maxima out": ("rows.hpp", "return {numerator / (s.rest.hi + p), 0};",
                                          "return {numerator / s.rest.hi, 0};"),
    "an infinite maximum is taken as any other": (
        "rows.hpp", "if (is_infinite(s.maximum)) [[unlikely]] {", "if (false) {"),
    "large logits are not centred": (
        "rows.hpp", "splat<P>(centred ? s.maximum * c.shrink : Real(0))", "splat<P>(Real(0))"),
    "maxima are not counted with care": ("rows.hpp", "pass.tops = pass.tops + top[k];", ""),
    "double: what the sum of a block rounds off is lost": ("rows.hpp", "sums.add(lost, part);", ""),
    "a short row is extended by zeros": (
        "operations.hpp", "splat<typename M::vector>(no_logit<Real>)", "splat<typename M::vector>(Real(0))"),
    "rows in registers: what the second chunk sees again counts twice": (
        "chunks.hpp", "lanes_from(2 * lanes - n, std::size_t(h) * w, v[M::parts + h])", "v[M::parts + h]"),
    "short rows: lanes behind the row take part in the maximum": (
        "short_sums.hpp", "SMX_INLINE void see(const P& v) { lanes = larger(v, lanes); }",
        "SMX_INLINE void see(const P& v) { lanes = v; }"),
    # results
    "log_softmax: the sign of log(sum)": (
        "operations.hpp", "minus(splat<P>(static_cast<Real>(-log_sum)))", "minus(splat<P>(static_cast<Real>(log_sum)))"),
    "log_softmax: T is ignored": (
        "dispatch.hpp", "usual ? static_cast<Real>(1 / temperature) : Real(0)", "usual ? Real(1) : Real(0)"),
    "T is ignored": ("dispatch.hpp", "hi = log2e / t;", "hi = log2e;"),
    "logsumexp: NaN beside +inf": ("operations.hpp", "return has_nan(x, n) ?", "return false ?"),
    "the other maxima are counted once too often": (
        "operations.hpp", "opaque((s.tops - splat<D>(1)) * s.top)", "opaque(s.tops * s.top)"),
    "distances of logits are halved": ("operations.hpp", "(temperature * half);", "temperature;"),
    "T = 0: not shared between the maxima": (
        "generic_rows.hpp", "Work(1.0) / count_maxima(first, last, top.value)", "Work(1.0)"),
    "a NaN temperature is taken": (
        "../options.hpp", "if (negative || !(work >= Work(0.0))) {", "if (negative) {"),
    # losses
    "smoothing does not shrink the target": (
        "losses.hpp", "kept_(Work(1.0) - Work(options.label_smoothing))", "kept_(Work(1.0))"),
    "smoothing is not divided by the classes": (
        "losses.hpp", "Work(options.label_smoothing) / from_size<Work>(class_count == 0 ? 1 : class_count)",
        "Work(options.label_smoothing)"),
    "a target one past the end is taken": (
        "losses.hpp", "static_cast<std::uintmax_t>(target) < classes", "static_cast<std::uintmax_t>(target) <= classes"),
    "a loss alone: the weight of its class": (
        "single_losses.hpp", "static_cast<double>(rule.class_weights[target])", "1"),
    "z_loss: half its gradient": ("loss_rows.hpp", "product(2 * rule.z_loss, logsumexp)", "product(rule.z_loss, logsumexp)"),
    "z_loss: logsumexp is not squared": (
        "loss_rows.hpp", "product(rule.z_loss * logsumexp, logsumexp)", "product(rule.z_loss, logsumexp)"),
    "maxima in two blocks of a row count as one": (
        "loss_rows.hpp", "alone = sum_of_lanes(tops) == 1;", "alone = s.tops == 1;"),
    "the classes seen before add their shares twice": ("loss_rows.hpp", "v = lanes_from(skip, o, v);", ""),
    "logsumexp forgets log(sum)": ("loss_parts.hpp", "return high + log_sum;", "return high;"),
    "logsumexps: those of later rows over the first ones": (
        "losses.hpp", "terms_.keep_logsumexp(row_ + k,", "terms_.keep_logsumexp(k,"),
    "side by side: the last chunk of a row is not added": ("columns.hpp", "if (in_last >= last) {", "if (false) {"),
    "side by side: the maximum stays in the sum": ("columns.hpp", "v[0] * (one - is_top)", "v[0] * one"),
    "side by side: the gradient at the target": (
        "column_losses.hpp", "where_equal(target[k], index, at_target[k], g[k])", "g[k]"),
    "side by side: an ignored row counts": (
        "column_losses.hpp", "opaque(where_less(index.part[p], D{}, D{}, splat<D>(1)))", "splat<D>(1)"),
    "side by side: the targets of the first block for all": (
        "column_losses.hpp", "advanced(targets, r),", "targets,"),
    # gradients and layouts
    "softmax_backward: a class of probability 0 takes part": (
        "backward_rows.hpp", "const P u = where_equal(p, P{}, P{}, upstream);", "const P u = upstream;"),
    "softmax_backward: elements seen before are added again": (
        "backward_rows.hpp", "lanes_from(seen, o, load<P>(y + at)), lanes_from(seen, o, load<P>(u + at)), h",
        "load<P>(y + at), load<P>(u + at), h"),
    "log_softmax_backward: the probability is left out": (
        "backward_rows.hpp", "const P away = multiply_add(e[k], f.sum_hi, e[k] * f.sum_lo);",
        "const P away = multiply_add(e[k], f.sum_hi, f.sum_hi);"),
    "batches: rows side by side are read as rows in sequence": (
        "../shape.hpp", "inner[k] = 1;", "inner[k] = static_cast<std::ptrdiff_t>(batch.classes);"),
    "transposition: lines that fill no block are left out": (
        "transposition.hpp", "for (std::size_t i = 0; i < a.lines; i += w) {",
        "for (std::size_t i = 0; i + w <= a.lines; i += w) {"),
    # masks
    "truth values: what takes part and what does not": (
        "masked_rows.hpp", "return where_nonzero(mask, yes, no);", "return where_nonzero(mask, no, yes);"),
    "a bias of -inf takes part": (
        "masked_rows.hpp", "return where_equal(load<P>(bias), splat<P>(no_logit<typename P::real>), no, yes);",
        "return yes;"),
    "the sink is not in the sum": ("masked_rows.hpp", "add_part(s, {term, 0}, 0);", ""),
    "a bias: the lower word of log2(e) is left out": (
        "biased_rows.hpp", "multiply_add(b[k], one_lo, product_error(b[k], one_hi, r[k]))",
        "product_error(b[k], one_hi, r[k])"),
    "a bias: what the product of a logit rounds off": (
        "biased_rows.hpp", "product_error(x[k], hi, v) + x[k] * lo", "x[k] * lo"),
    "logarithms under a bias: the top stays in the sum": (
        "biased_rows.hpp", "own.bias[place] = no_logit<Real>;", ""),
    "logarithms under a bias: what x / T + b rounds off": (
        "biased_rows.hpp", "opaque(rest - top_rest)", "P{}"),
    "logarithms under a bias: steps behind that of the top are left out": (
        "biased_rows.hpp", "x + after, b + after, nowhere, whole - after, magic", "x + after, b + after, nowhere, 0, magic"),
    "masked log_softmax_backward: what is excluded is added": (
        "masked_rows.hpp", "sum.add(where_equal(l, none, P{}, upstream), h);", "sum.add(upstream, h);"),
    "short rows: the truth value of the first logit for all of a chunk": (
        "masked_short_rows.hpp", "mask[l] = x.mask[l];", "mask[l] = x.mask[0];"),
    "short rows: what a bias leaves of an integer": (
        "masked_short_rows.hpp", "add_product(v[k], s[k], r[k], q) + rest[k]", "add_product(v[k], s[k], r[k], q)"),
    "short rows: a bias times the lower word of log2(e)": (
        "masked_short_rows.hpp", "rest[k] = multiply_add(b[k], from.log2e_lo, rest[k]);", "{}"),
    "causal: one logit less": ("masks.hpp", "last < classes ? last + 1 : classes", "last < classes ? last : classes"),
    "causal: the period is ignored": ("masks.hpp", "period == 0 ? row : row % period", "row"),
    "valid lengths: that of the first row for all": (
        "masks.hpp", "count == 1 ? *lengths.first : *advanced_by(lengths.first, row)", "*lengths.first"),
    "mask rows: the first one for all": ("masks.hpp", "first + row % count * classes", "first"),
    "a valid length beyond the row is taken": ("../masked.hpp", "std::cmp_greater(length, n)", "false"),
    "softcap: the slope": ("generic_rows.hpp", "return Work(4.0) * e /", "return Work(2.0) * e /"),
    "softcap: tanh is not scaled": (
        "generic_rows.hpp", "Work(cap_ * hyperbolic_tangent(Work(x / cap_)))", "hyperbolic_tangent(Work(x / cap_))"),
    "masks: the softcap before T": (
        "generic_masked.hpp", "cap(is_number(x) ? Work(x / temperature) : x)", "cap(x)"),
    "masks: a sink by the sign of the bias": ("generic_masked.hpp", "difference(sink, bias_)", "difference(sink, Work(0.0) - bias_)"),
    "masks: the sink takes part twice where it leads": (
        "generic_masked.hpp", "if (has_sink && !sink_leads) {", "if (has_sink) {"),
    # rows in pieces
    "merge: the sum of the lower state as it is": (
        "online_rows.hpp", "other.number() - number());", "0);"),
    "push: the maximum of before is lost": (
        "online_rows.hpp", "splat<P>(raises ? s->top_logit : x)", "splat<P>(x)"),
    "push of a range: maxima are counted once too often": (
        "online_rows.hpp", "const double others = sum.tops - 1", "const double others = sum.tops"),
    "merge: a NaN is forgotten": (
        "generic_online.hpp", "if (s.top_logit != s.top_logit || part.top_logit", "if (part.top_logit"),
    "merge: states of any temperature": ("online_sums.hpp", "if (!(temperature == expected)) {", "if (false) {"),
    # distillation
    "kl_divergence: T is not squared": (
        "divergence_rows.hpp", "product(product(result > 0 ? result : 0, t), t)", "product(result > 0 ? result : 0, t)"),
    "kl_divergence: the sign of its gradient": (
        "divergence_rows.hpp", "return all.larger * (P{} - all.difference);", "return all.larger * all.difference;"),
    "kl_divergence: the last vector of a gradient": ("divergence_rows.hpp", "store(out + n - w, last);", ""),
    "kl_divergence: classes seen before are added again": (
        "divergence_rows.hpp", "more = lanes_from(seen, h * w, more);", ""),
    "kl_divergence: the larger of two probabilities": (
        "divergence_rows.hpp", "where_less(d, zero, student, teacher)", "where_less(d, zero, teacher, student)"),
    "kl_divergence: distances are not of the normalized rows": (
        "divergence_rows.hpp", "exact_sum(high, more - less, lost)", "exact_sum(high, more, lost)"),
    "kl_divergence: an infinite T is taken": (
        "divergences.hpp", "if (!(checked < infinity<Work>())) {", "if (false) {"),
}


def outcome(mutation, compiler):
    """caught, or what is wrong; SURVIVED is what the library without a bug has to do."""
    with tempfile.TemporaryDirectory() as directory:
        return outcome_in(pathlib.Path(directory), mutation, compiler)


def outcome_in(directory, mutation, compiler):
    file, old, new = mutation
    include = directory / "include"
    shutil.copytree(ROOT / "include", include)
    header = include / DETAIL / file
    text = header.read_text(encoding="ascii")
    if old not in text:
        return "NOT FOUND: the line has moved"
    header.write_text(text.replace(old, new), encoding="ascii")
    program = directory / "program"
    sources = [ROOT / "tests/fuzz/interface.cpp", ROOT / "tests/fuzz/random_cases.cpp"]
    command = [compiler, "-std=c++20", "-O1", "-DSMX_INSTRUCTION_SET=0", f"-I{include}", f"-I{ROOT / 'tests'}"]
    if subprocess.run([*command, *sources, "-o", program], capture_output=True, check=False).returncode != 0:
        return "DOES NOT COMPILE"
    try:
        run = subprocess.run([program, CASES], capture_output=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return "caught"
    return "caught" if run.returncode != 0 else "SURVIVED"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="how many; the choice changes from day to day")
    parser.add_argument("--compiler", default="clang++-19")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    names = arguments.names or list(MUTATIONS)
    if arguments.sample:
        day = datetime.date.today().toordinal()
        names = [names[(day * arguments.sample + k) % len(names)] for k in range(arguments.sample)]
    caught = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        without_bug = pool.submit(outcome, ("rows.hpp", "", ""), arguments.compiler)
        results = pool.map(lambda name: outcome(MUTATIONS[name], arguments.compiler), names)
        for name, result in zip(names, results):
            caught += result == "caught"
            print(f"{result}: {name}", flush=True)
        if without_bug.result() != "SURVIVED":
            sys.exit("the library does not pass without a bug either")
    print(f"{caught} of {len(names)} bugs caught")
    return 0 if caught == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
