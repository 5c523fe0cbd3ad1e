#!/usr/bin/env python3
"""Draws what bench_peers measured: charts.py result.json speed.svg accuracy.svg [--op softmax|log_softmax]

One dot per contestant on a line per shape, logarithmic. Python's standard library is all that it needs."""
import argparse
import json
import math
from xml.sax.saxutils import escape

# smx stands out; the others differ in lightness and form too, to be told apart without colour vision.
SMX = "#d1242f"
STYLES = {
    "smx": (SMX, "circle"),
    "loop": ("#6e7781", "square"),
    "loop fast": ("#24292f", "cross"),
    "Eigen": ("#0969da", "triangle"),
    "xsimd": ("#8250df", "diamond"),
    "oneDNN": ("#1a7f37", "square"),
    "XNNPACK": ("#bf8700", "triangle down"),
    "libtorch": ("#0f8a8a", "diamond"),
}
WIDTH, LEFT, RIGHT = 882, 136, 28
TOP, ROW, BOTTOM, LANE = 104, 34, 52, 9
INK, GREY, RULE, BORDER = "#1f2328", "#59636e", "#e4e8ec", "#d1d9e0"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def text(x, y, content, size=13, fill=INK, anchor="start", weight=None):
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{bold}>'
        f"{escape(content)}</text>"
    )


def marker(name, x, y, title=""):
    colour, shape = STYLES.get(name, (GREY, "circle"))
    r = 6.5 if name == "smx" else 4.5
    s = 0.85 * r
    points = {
        "triangle": [(0, -r), (r, r * 0.8), (-r, r * 0.8)],
        "triangle down": [(0, r), (r, -r * 0.8), (-r, -r * 0.8)],
        "diamond": [(0, -r * 1.2), (r * 1.2, 0), (0, r * 1.2), (-r * 1.2, 0)],
        "square": [(-s, -s), (s, -s), (s, s), (-s, s)],
    }
    hint = f"<title>{escape(title)}</title>" if title else ""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}" stroke="#fff">{hint}</circle>'
    if shape == "cross":
        arms = f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}"
        return f'<path d="{arms}" stroke="{colour}" stroke-width="2" fill="none">{hint}</path>'
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points[shape])
    return f'<polygon points="{corners}" fill="{colour}" stroke="#fff" stroke-width="0.8">{hint}</polygon>'


def number(value):
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


class Axis:
    """A logarithmic axis that holds all values: ticks at 1, 2, 5 of each decade, or only at 1."""

    def __init__(self, values):
        low, high = math.log10(min(values)), math.log10(max(values))
        margin = 0.04 * (high - low) + 0.02
        self.low, self.high = low - margin, high + margin

    def x(self, value):
        return LEFT + (math.log10(value) - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def ticks(self):
        steps = (1, 2, 5) if self.high - self.low < 3.5 else (1,)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        values = [step * 10.0**decade for decade in decades for step in steps]
        return [value for value in values if self.low <= math.log10(value) <= self.high]


def legend(names):
    step = (WIDTH - 40) / len(names)
    parts = []
    for i, name in enumerate(names):
        x = 30 + i * step
        weight = 600 if name == "smx" else None
        parts += [marker(name, x, 62), text(x + 12, 66.5, name, weight=weight)]
    return parts


def lanes(places):
    """A height for each name, so that dots do not hide each other: on the line itself where there is room."""
    heights, taken = {}, []
    for name, x in sorted(places.items(), key=lambda place: (place[0] != "smx", place[1])):
        near = [height for other, height in taken if abs(x - other) <= 11]
        free = [height for height in (0, -LANE, LANE) if height not in near]
        heights[name] = free[0] if free else 0
        taken.append((x, heights[name]))
    return heights


def chart(title, subtitle, unit, rows, reference=None):
    """rows: (label, {name: value}, extra) per line; extra: a value drawn as a short bar, or None."""
    names = [name for name in STYLES if any(name in values for _, values, _ in rows)]
    everything = [v for _, values, extra in rows for v in [*values.values(), *([extra] if extra else [])]]
    axis = Axis(everything + ([reference[0]] if reference else []))
    bottom = TOP + ROW * len(rows)
    height = bottom + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="{FONT}">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(subtitle)}</desc>",
        # A card of its own colour: the page behind may be white or black.
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#ffffff" '
        f'stroke="{BORDER}"/>',
        text(20, 30, title, 17, weight=600),
        text(WIDTH - 20, 30, subtitle, 12, GREY, "end"),
        *legend(names),
    ]
    for tick in axis.ticks():
        x = axis.x(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{RULE}"/>')
        parts.append(text(x, bottom + 18, number(tick), 12, GREY, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 38, unit, 12, GREY, "middle"))
    if reference:
        x = axis.x(reference[0])
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{SMX}" '
            'stroke-dasharray="4 3"/>'
        )
        parts.append(text(x + 5, TOP - 4, reference[1], 12, SMX))
    for i, (label, values, extra) in enumerate(rows):
        y = TOP + ROW * (i + 0.5)
        parts.append(text(LEFT - 16, y + 4.5, label, 13, INK, "end"))
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{RULE}"/>')
        if extra:
            x = axis.x(extra)
            parts.append(
                f'<line x1="{x:.1f}" y1="{y - LANE:.1f}" x2="{x:.1f}" y2="{y + LANE:.1f}" '
                f'stroke="{INK}" stroke-width="2">'
                f"<title>limit: {extra:.3g}</title></line>"
            )
        places = {name: axis.x(value) for name, value in values.items()}
        for name, height in lanes(places).items():
            parts.append(marker(name, places[name], y + height, f"{name}: {values[name]:.3g}"))
    return "\n".join(parts + ["</svg>", ""])


def label(shape):
    return f"{shape['rows']:,} \u00d7 {shape['columns']:,}"


def speed(result, operation):
    rows = [
        (
            label(shape),
            {peer["name"]: peer["ns_per_element"]["median"] for peer in shape["peers"]},
            shape.get("limit", {}).get("best"),
        )
        for shape in result["shapes"]
        if shape["operation"] == operation
    ]
    return chart(
        f"{operation} of {result['type']}: time",
        f"{result['processor']}, one thread, median of {result['rounds']} rounds; "
        "bar: what the machine can do",
        "ns per element (left is faster)",
        rows,
    )


def accuracy(result, operation):
    rows = []
    for shape in result["shapes"]:
        values = {
            peer["name"]: peer["accuracy"]["worst_ulp"]
            for peer in shape["peers"]
            if peer.get("accuracy", {}).get("worst_ulp")
        }
        if shape["operation"] == operation and values:
            rows.append((label(shape), values, None))
    return chart(
        f"{operation} of {result['type']}: worst error",
        "logits N(0, 3), results that are normal numbers",
        "units in the last place (left is more accurate)",
        rows,
        (3, "promised by smx: 3"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("result", help="what bench_peers --json wrote")
    parser.add_argument("speed", help="the SVG file to write")
    parser.add_argument("accuracy", help="the SVG file to write")
    parser.add_argument("--op", default="softmax", choices=["softmax", "log_softmax"])
    arguments = parser.parse_args()
    with open(arguments.result, encoding="utf-8") as file:
        result = json.load(file)
    for path, drawing in ((arguments.speed, speed), (arguments.accuracy, accuracy)):
        with open(path, "w", encoding="utf-8") as file:
            file.write(drawing(result, arguments.op))


if __name__ == "__main__":
    main()
