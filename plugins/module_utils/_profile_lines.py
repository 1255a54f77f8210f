# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""From what a container wrote, or somebody saved, to the lines that NIM meant.

Takes away what others put around a line (colours, the prefixes of docker compose, kubectl, journald and
time-stamped logs, quotation marks of mails), opens JSON log lines (NIM_JSONL_LOGGING), and puts a hint that was
folded onto a line of its own back where it belongs.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Za-z0-9])")
_PREFIXES = (
    re.compile(r"(?:>\s?)+"),  # a quoted mail or issue
    re.compile(r"[A-Za-z0-9][\w.-]*\s+\|(?:\s|$)"),  # docker compose
    re.compile(r"\[pod/[^\]\s]+\]\s"),  # kubectl logs --prefix
    re.compile(r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) \S+ [^\s\[]+\[\d+\]:\s"),  # journald
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)\s+"),  # docker logs --timestamps
)
_LONGEST = 8192  # of a line that can be the listing's: the patterns here and above need not bear more
# Not splitlines(): it also splits on characters that a name may hold. A bare CR is a progress bar's.
_NEWLINE = re.compile(r"\r\n|\n|\r")
_FOLDED = re.compile(r"(?:\[current utilization:|\[requires\b|try --max-model-len|to reduce to\b)[^\[]*\]")

BULLET = re.compile(r"[-*•–]\s+")
_ITEM = re.compile(r"(?:[-*•–]\s+)?(?:\[[0-9a-fA-F]{4}:|[0-9a-fA-F]{64}\b)")


class Line(NamedTuple):
    """A line as NIM wrote it, without indent; number counts the lines of the text it came in, from 1."""

    number: int
    text: str

    def __str__(self):
        shown = self.text if len(self.text) <= 200 else self.text[:200] + "…"
        return f"line {self.number}: {shown}"


def nim_lines(text):
    """The lines of the text (str) that are not blank: list of Line."""
    lines = []
    for number, physical in enumerate(_NEWLINE.split(text), 1):
        for line in _open(_strip(physical)):
            if lines and len(line) <= _LONGEST and _FOLDED.fullmatch(line) and _ITEM.match(lines[-1].text):
                lines[-1] = Line(lines[-1].number, f"{lines[-1].text} {line}")
            elif line and len(line) <= _LONGEST:
                lines.append(Line(number, line))
    return lines


def _strip(line):
    line = _ANSI.sub("", line).lstrip("\ufeff").strip()
    for prefix in _PREFIXES:
        line = prefix.sub("", line, count=1).strip() if prefix.match(line) else line
    return line


def _open(line):
    """The line (str) itself, or the lines inside it where it is a JSON log record: list of str."""
    if not line.startswith("{"):
        return [line]
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return [line]
    if not isinstance(record, dict) or not isinstance(record.get("message"), str):
        return [line]
    inside = _NEWLINE.split(record["message"])
    # NIM writes every value as a string, and nothing as "None".
    if isinstance(record.get("exc_info"), str) and record["exc_info"] != "None":
        inside += _NEWLINE.split(record["exc_info"])
    return [_ANSI.sub("", part).strip() for part in inside]
