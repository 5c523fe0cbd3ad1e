#!/usr/bin/env python3
"""What Doxygen reads of a header: doxygen_filter.py file.

The headers are written to be read as they are; Doxygen wants comments of its own form. A comment above a declaration, or behind
an enumerator, becomes its documentation. The one at the top of a file is shown as it stands, softmax.hpp's on the main page. An
overload right after another one of its name shares the comment. Left out: namespace detail and deleted overloads,
which are no part of the interface. The numbers of lines change.
"""

import re
import sys

DECLARATION = re.compile(r"(template\b|struct\b|enum\b|class\b|constexpr\b|inline\b|void\b)")
NAME = re.compile(r"\b(?!(?:requires|decltype|sizeof)\b)(\w+)\(")


def without_details(lines):
    inside = False
    for line in lines:
        inside = inside or line == "namespace detail {"
        if not inside:
            yield line
        inside = inside and line != "} // namespace detail"


def blocks(lines):
    """(comment, lines of the declaration up to its end) of each; other lines have neither."""
    comment, i = [], 0
    while i < len(lines):
        if lines[i].startswith("//"):
            comment.append(lines[i])
            i += 1
            continue
        begin = i
        if DECLARATION.match(lines[i]):
            while not lines[i].endswith(("{", ";")):
                i += 1
            if lines[i].endswith("{"):
                while lines[i] not in ("}", "};"):
                    i += 1
        yield comment, lines[begin : i + 1]
        comment = []
        i += 1


def documented(line):
    """A line of the body of a class or an enumeration."""
    line = re.sub(r"^(\s+)//", r"\1///", line)
    return re.sub(r"([,;]) // ", r"\1 ///< ", line)


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        lines = [line.rstrip("\n") for line in file]
    top = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    print("/** @mainpage" if sys.argv[1].endswith("include/softmax.hpp") else "/** @file", "\n@verbatim")
    print("\n".join(line[3:] for line in lines[:top]))
    print("@endverbatim */")

    previous, shared = None, []
    for comment, block in blocks(list(without_details(lines[top:]))):
        if not DECLARATION.match(block[0]):
            print("\n".join(block).replace("smx::inline SMX_ABI", "smx"))
            continue
        if block[-1].endswith("= delete;"):
            continue
        head = " ".join(block[: 1 + next((i for i, line in enumerate(block) if line.endswith(("{", ";"))), 0)])
        is_type = re.search(r"(^|> ?)(struct|enum|class) \w+( \w+)? \{$", head) is not None
        found = None if is_type else NAME.search(" ".join(block))
        name = found.group(1) if found else None
        if not comment and name is not None and name == previous:
            comment = shared
        print("\n".join("///" + line[2:] for line in comment))
        print("\n".join(documented(line) for line in block) if is_type else "\n".join(block))
        previous, shared = name, comment


main()
