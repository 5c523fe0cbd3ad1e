#!/usr/bin/env python3
"""Writes tests/reference_values.inc: what PyTorch and SciPy make of some rows, losses and gradients, in float64.

    python3 -m venv venv && venv/bin/pip install torch scipy
    venv/bin/python tools/reference_values.py

The logits are drawn here, with numbers that need few digits, so that the file does not depend on a random generator.
PyTorch has no temperature, z_loss or softcap: they are put together from its operations, and its autograd differentiates.
"""

import itertools
import pathlib

import scipy
import scipy.special
import torch
import torch.nn.functional as F

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "reference_values.inc"
torch.set_default_dtype(torch.float64)


class Numbers:
    """A linear congruential generator: multiples of 1/64 in [low, high)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def tensor(self, shape, low, high):
        count = 1
        for extent in shape:
            count *= extent
        values = [low + self.below(int((high - low) * 64)) / 64 for _ in range(count)]
        return torch.tensor(values).reshape(shape)


def braces(values):
    return "{" + ", ".join(repr(float(v)) for v in values) + "}"


def case(function, shape, x, other=(), weights=(), values=(), gradient=(), **options):
    """One initializer of reference_case (tests/reference_values.cpp), whose order this is."""
    names = ("temperature", "label_smoothing", "z_loss", "softcap", "ignore_index")
    unset = dict(temperature=1.0, label_smoothing=0.0, z_loss=0.0, softcap=0.0, ignore_index=-100)
    numbers = ", ".join(repr(options.get(name, unset[name])) for name in names)
    mean = "true" if options.get("reduction", "mean") == "mean" else "false"
    flat = [braces(torch.as_tensor(v).detach().reshape(-1).tolist()) for v in (x, other, weights, values, gradient)]
    extents = "{" + ", ".join(str(e) for e in shape) + "}"
    return f'{{"{function}", {extents}, {numbers}, {mean},\n ' + ",\n ".join(flat) + "},\n"


# {outer, classes, inner}; torch keeps the classes in dimension 1
SHAPES = [(3, 5, 1), (2, 4, 3), (2, 18, 1)]


def laid_out(shape):
    return (shape[0], shape[1]) if shape[2] == 1 else shape


def forward_and_backward(numbers):
    for shape, temperature in itertools.product(SHAPES, (1.0, 0.75)):
        x = numbers.tensor(laid_out(shape), -8, 8).requires_grad_()
        upstream = numbers.tensor(laid_out(shape), -2, 2)
        for name, function, by_scipy in (
            ("softmax", torch.softmax, scipy.special.softmax),
            ("log_softmax", torch.log_softmax, scipy.special.log_softmax),
        ):
            x.grad = None
            out = function(x / temperature, dim=1)
            out.backward(upstream)
            yield case(name, shape, x, upstream, (), out, x.grad, temperature=temperature)
            yield case(name, shape, x, values=by_scipy(x.detach().numpy() / temperature, axis=1), temperature=temperature)
        by_scipy = scipy.special.logsumexp(x.detach().numpy() / temperature, axis=1)
        yield case("logsumexp", shape, x, values=torch.logsumexp(x / temperature, dim=1), temperature=temperature)
        yield case("logsumexp", shape, x, values=by_scipy, temperature=temperature)


def cross_entropies(numbers):
    for smoothing, weighted, ignores, reduction, given in itertools.product(
        (0.0, 0.15), (False, True), (False, True), ("mean", "sum"), (False, True)
    ):
        if given and ignores:
            continue
        temperature, shape = (1.0, 0.75, 2.0)[numbers.below(3)], SHAPES[numbers.below(2)]
        classes = shape[1]
        x = numbers.tensor(laid_out(shape), -8, 8).requires_grad_()
        weights = numbers.tensor((classes,), 0.25, 3)
        options = dict(label_smoothing=smoothing, reduction=reduction, weight=weights if weighted else None)
        if given:
            target = numbers.tensor(laid_out(shape), 0, 1)
        else:
            rows = laid_out(shape)[:1] + laid_out(shape)[2:]
            target = torch.tensor([numbers.below(classes) for _ in range(shape[0] * shape[2])]).reshape(rows)
            if ignores:
                options["ignore_index"] = int(target.reshape(-1)[0])
                # One row counts: the mean of none is NaN in PyTorch, 0 in smx.
                target.reshape(-1)[-1] = (options["ignore_index"] + 1) % classes
        loss = F.cross_entropy(x / temperature, target, **options)
        loss.backward()
        yield case("cross_entropy" if not given else "cross_entropy of probabilities", shape, x, target.to(torch.float64),
                   weights if weighted else (), [loss.item()], x.grad, temperature=temperature,
                   label_smoothing=smoothing, reduction=reduction, ignore_index=options.get("ignore_index", -100))


def cross_entropies_from_operations(numbers):
    """z_loss and softcap."""
    for z_loss, softcap, weighted, reduction in itertools.product((0.0, 0.03125), (0.0, 5.5), (False, True), ("mean", "sum")):
        shape, temperature = SHAPES[0], 0.75
        x = numbers.tensor(laid_out(shape), -8, 8).requires_grad_()
        weights = numbers.tensor((shape[1],), 0.25, 3)
        target = torch.tensor([numbers.below(shape[1]) for _ in range(shape[0])])
        capped = softcap * torch.tanh(x / softcap) if softcap else x
        scaled = capped / temperature
        w = weights if weighted else None
        loss = F.cross_entropy(scaled, target, weight=w, label_smoothing=0.125, reduction="sum")
        loss = loss + z_loss * (torch.logsumexp(scaled, dim=1) ** 2).sum()
        if reduction == "mean":
            loss = loss / (weights[target].sum() if weighted else shape[0])
        loss.backward()
        yield case("cross_entropy", shape, x, target.to(torch.float64), weights if weighted else (), [loss.item()], x.grad,
                   temperature=temperature, label_smoothing=0.125, z_loss=z_loss, softcap=softcap, reduction=reduction)


def divergences(numbers):
    for shape, temperature, reduction in itertools.product(SHAPES, (0.75, 4.0), ("mean", "sum")):
        student = numbers.tensor(laid_out(shape), -4, 4).requires_grad_()
        teacher = numbers.tensor(laid_out(shape), -4, 4)
        loss = temperature**2 * F.kl_div(
            torch.log_softmax(student / temperature, dim=1), torch.log_softmax(teacher / temperature, dim=1),
            log_target=True, reduction="sum")
        if reduction == "mean":
            loss = loss / (shape[0] * shape[2])
        loss.backward()
        yield case("kl_divergence", shape, student, teacher, (), [loss.item()], student.grad, temperature=temperature,
                   reduction=reduction)
        t = scipy.special.softmax(teacher.numpy() / temperature, axis=1)
        s = scipy.special.softmax(student.detach().numpy() / temperature, axis=1)
        total = temperature**2 * scipy.special.rel_entr(t, s).sum()
        yield case("kl_divergence", shape, student, teacher, (), [total / (shape[0] * shape[2] if reduction == "mean" else 1)],
                   temperature=temperature, reduction=reduction)


def main():
    numbers = Numbers(2015)
    with OUTPUT.open("w", encoding="ascii", newline="\n") as file:
        version = torch.__version__.split("+")[0]
        file.write(f"// Written by tools/reference_values.py with PyTorch {version} and SciPy {scipy.__version__}. Not to be edited.\n")
        for part in (forward_and_backward, cross_entropies, cross_entropies_from_operations, divergences):
            file.writelines(part(numbers))


if __name__ == "__main__":
    main()
