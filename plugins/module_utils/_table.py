# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A table for people, in plain text.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
import unicodedata

# Columns of a terminal that a playbook's message may take: 100, of which Ansible indents 8.
WIDTH = 92
# Columns below which no column of a table is narrowed.
_LEAST = 8
_GAP = "  "
# Where a cell may go on in the next line: behind these.
_PART = re.compile(r"[^\s@/:,_-]*[\s@/:,_-]?")


def table(headings, rows, width=None):
    """The table (str) with columns as wide as what stands in them. headings: of str; rows: of lists of as many str.

    width: columns of the terminal that it may take. Cells that do not fit go on below, those of the last columns first.
    """
    cells = [list(headings), *rows]
    widths = [max(_columns(row[column]) for row in cells) for column in range(len(headings))]
    if width:
        widths = _narrowed(widths, [max(_LEAST, _columns(heading)) for heading in headings], width)
    return "\n".join(line for row in cells for line in _lines(row, widths))


def wrapped(text, width):
    """The lines (list of str) of a text, each of width (int) columns at most."""
    lines = []
    for paragraph in text.splitlines() or [""]:
        lines.append("")
        for part in _PART.findall(paragraph):
            if lines[-1] and _columns(lines[-1] + part.rstrip()) > width:
                lines.append("")
            lines[-1] += part
            while _columns(lines[-1].rstrip()) > width:
                kept = _cut(lines[-1], width)
                lines[-1:] = [kept, lines[-1][len(kept) :]]
    return [line.rstrip() for line in lines]


def _narrowed(widths, least, width):
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    narrowed = list(widths)
    for column in reversed(range(len(widths))):
        spared = min(max(0, over), max(0, widths[column] - least[column]))
        narrowed[column] -= spared
        over -= spared
    return narrowed


def _lines(row, widths):
    parts = [wrapped(cell, width) for cell, width in zip(row, widths)]
    for number in range(max(map(len, parts))):
        shown = [part[number] if number < len(part) else "" for part in parts]
        padded = (cell + " " * (width - _columns(cell)) for cell, width in zip(shown, widths))
        yield _GAP.join(padded).rstrip()


def _columns(text):
    """How many columns of a terminal a text takes: two for each wide character, as Japanese has them."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _cut(text, width):
    kept = ""
    for one in text:
        # At least one character, or it would never end.
        if kept and _columns(kept + one) > width:
            break
        kept += one
    return kept
