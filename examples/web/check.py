#!/usr/bin/env python3
"""The page in a real browser: check.py folder softmax_cli.

Moves the slider as a hand would, edits a logit, and holds the widths of the bars, what is written beside them and the entropy
against what the C++ program softmax_cli prints. Says NOT CHECKED where there is no Chromium.
"""

import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

STEPS = [{"slider": 0}, {"slider": -0.5}, {"slider": 0.8}, {"slider": 0.8, "logit": [3, 4.5]}]

DRIVER = """
const results = [];
for (const step of %s) {
  slider.value = step.slider;
  slider.dispatchEvent(new Event("input"));
  if (step.logit) {
    const field = chart.querySelectorAll("input")[step.logit[0]];
    field.value = step.logit[1];
    field.dispatchEvent(new Event("input"));
  }
  results.push({
    logits: logits(),
    widths: Array.from(chart.querySelectorAll(".bar"), (bar) => parseFloat(bar.style.width) / 100),
    texts: Array.from(chart.querySelectorAll("output"), (text) => Number(text.value)),
    top: Number(document.getElementById("top").value),
    entropy: Number(document.getElementById("entropy").value),
  });
}
const found = document.createElement("pre");
found.id = "found";
found.textContent = JSON.stringify(results);
document.body.append(found);
"""


def results_of(softmax_cli, temperature, logits, *options):
    command = [softmax_cli, "-t", temperature, *options, *map(str, logits)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    results = [float(word) for word in printed.split()]
    if len(results) != len(logits):
        sys.exit(f"softmax_cli printed {printed!r}")
    return results


def main():
    folder, softmax_cli = pathlib.Path(sys.argv[1]), sys.argv[2]
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("the page in Chromium: NOT CHECKED: there is none here")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        page = pathlib.Path(directory) / "page"
        shutil.copytree(folder, page)
        (page / "driver.js").write_text(DRIVER % json.dumps(STEPS), encoding="ascii")
        html = (page / "index.html").read_text(encoding="ascii")
        (page / "index.html").write_text(
            html.replace("</html>", '<script src="driver.js"></script></html>'), encoding="ascii")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile",
                   "--virtual-time-budget=5000", "--dump-dom", f"file://{page}/index.html"]
        text = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', text)
    if found is None:
        sys.exit("the page did not run")
    for step, seen in zip(STEPS, json.loads(found.group(1)), strict=True):
        temperature = repr(10 ** step["slider"])
        expected = results_of(softmax_cli, temperature, seen["logits"])
        logarithms = results_of(softmax_cli, temperature, seen["logits"], "--log")
        for kind in ("widths", "texts"):
            for p, e in zip(seen[kind], expected, strict=True):
                if abs(p - e) > 1e-5 * max(e, 1e-2):
                    sys.exit(f"{kind} at T = {temperature}: {seen[kind]}, softmax_cli: {expected}")
        if abs(seen["top"] - max(expected)) > 1e-5:
            sys.exit(f"top-1 at T = {temperature}: {seen['top']}")
        entropy = -sum(p * l for p, l in zip(expected, logarithms, strict=True) if p > 0) / math.log(2)
        if abs(seen["entropy"] - entropy) > 1e-5 * max(entropy, 1e-2):
            sys.exit(f"entropy at T = {temperature}: {seen['entropy']}, by softmax_cli: {entropy}")
        print(f"T = {temperature}: {seen['texts']}, entropy {seen['entropy']}")
    print("the page in Chromium: passed")
    return 0


sys.exit(main())
