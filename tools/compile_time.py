#!/usr/bin/env python3
"""What #include <softmax.hpp> costs to compile: tools/compile_time.py [--runs n] [compiler [flag ...]]

Compares it with the standard headers that it includes, and with a <vector> that the user includes anyway. CPU time of
the compiler with -fsyntax-only, the least of the runs, which are interleaved: what else the machine does lengthens a
run, never shortens it.
"""

import argparse
import pathlib
import re
import resource
import subprocess

INCLUDE = pathlib.Path(__file__).resolve().parent.parent / "include"
LINE_MARKER = re.compile(r'# \d+ "([^"]*)"')
STANDARD_HEADER = re.compile(r"\s*#\s*include\s*(<[^>]+>)")


def standard_headers(preprocess):
    """Those that softmax.hpp and its parts, all below include/, name in what the preprocessor does not skip."""
    command = [*preprocess, "-E", "-dI", "-x", "c++", "-"]
    result = subprocess.run(command, input="#include <softmax.hpp>\n", text=True, check=True, capture_output=True)
    headers, ours = set(), False
    for line in result.stdout.splitlines():
        if marker := LINE_MARKER.match(line):
            ours = marker[1].startswith(f"{INCLUDE}/")
        elif ours and (header := STANDARD_HEADER.match(line)):
            headers.add(header[1])
    return sorted(headers)


def cpu_seconds(command, headers):
    source = "".join(f"#include {header}\n" for header in headers)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, input=source, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("compiler", nargs="?", default="c++")
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    preprocess = [arguments.compiler, "-std=c++20", *arguments.flags, f"-I{INCLUDE}"]
    command = [*preprocess, "-fsyntax-only", "-x", "c++", "-"]

    programs = {
        "nothing": [],
        "standard": standard_headers(preprocess),
        "softmax": ["<softmax.hpp>"],
        "vector": ["<vector>"],
        "both": ["<vector>", "<softmax.hpp>"],
    }
    best = dict.fromkeys(programs, float("inf"))
    for _ in range(arguments.runs):
        for name, headers in programs.items():
            best[name] = min(best[name], cpu_seconds(command, headers))

    print(f"{' '.join([arguments.compiler, *arguments.flags])}: least CPU seconds of {arguments.runs} runs")
    print(f"  an empty file                          {best['nothing']:.3f}")
    print(f"  the {len(programs['standard'])} standard headers of softmax.hpp   {best['standard']:.3f}")
    print(f"  softmax.hpp                            {best['softmax']:.3f}", end="")
    print(f"   {best['softmax'] / best['standard']:.2f} times as long")
    print(f"  vector                                 {best['vector']:.3f}")
    print(f"  vector and softmax.hpp                 {best['both']:.3f}", end="")
    print(f"   {best['both'] - best['vector']:.3f} s more")


if __name__ == "__main__":
    main()
