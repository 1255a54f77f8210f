# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A table for people, in plain text.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations


def table(headings, rows):
    """The table (str) with columns as wide as what stands in them. headings: of str; rows: of lists of as many str."""
    cells = [list(headings), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells)
