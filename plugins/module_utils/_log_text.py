# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Logs as people save them, brought into one form: plain lines, without colours, prefixes and wrappers.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

# A log is read from its end, and no line is longer: what a service writes must not cost any amount of memory.
MOST_CHARACTERS = 1_000_000
LONGEST_LINE = 2000
# How deep a JSON line may hold JSON lines, as where Docker's own files hold a service's JSON log.
_DEEPEST = 3

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# docker compose writes the service before each line, docker logs --timestamps the time.
_COMPOSE = re.compile(r"[\w][\w.-]{0,80}\s*\| ?")
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))(?: |$)")

# Observed: these read like trouble and are none.
NOISE = re.compile(
    r"is not fully defined with checksums|does not support LoRA, but LoRA is enabled|supports LoRA, but LoRA is "
    r"disabled"
    r"|first-level manifest validation skipped|Field '\w+' not found in NimAsyncEngineArgs"
    r"|Logger level already set from environment|This is a PLACEHOLDER LEGAL FILE|\"GET /v1/(?:health|metrics|models)",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r"^(?:\w+\.)*\w*(?:Error|Exception)\b|\b(?:ERROR|CRITICAL|FATAL)\b|\b(?:error|failed|fatal|panic|refused|denied"
    r"|cannot|can't|unable to|not found|Killed)\b",
)


def lines(text):
    """The lines of a log (str) without blank ones: list of str, none longer than LONGEST_LINE.

    Of a log of JSON, as NIM_JSONL_LOGGING and Docker's own files have it, the messages and tracebacks.
    """
    text = text[-MOST_CHARACTERS:]
    found = [line for raw in re.split(r"[\r\n]+", text) for line in _unwrapped(raw.strip("\x00"), _DEEPEST)]
    found = [_ANSI.sub("", line).rstrip()[:LONGEST_LINE] for line in found]
    found = [line for line in found if line.strip()]
    prefixed = sum(1 for line in found if _COMPOSE.match(line))
    if found and prefixed * 2 > len(found):
        found = [_COMPOSE.sub("", line, count=1) for line in found]
    return [line for line in (_TIMESTAMP.sub("", line, count=1) for line in found) if line.strip()]


def _unwrapped(line, depth):
    """The lines (list of str) that a line of JSON holds; itself where it holds none."""
    start = line.find("{")
    if depth == 0 or start < 0 or not line.rstrip().endswith("}") or start > 120:
        return [line]
    try:
        record = json.loads(line[start:])
    except (ValueError, RecursionError):
        return [line]
    if not isinstance(record, dict):
        return [line]
    # Every value is a str, and the string None stands for nothing (observed).
    said = [record.get(key) for key in ("log", "message", "msg", "exc_info")]
    said = [one for one in said if isinstance(one, str) and one not in ("", "None")]
    if not said and not {"log", "message", "exc_info"} & set(record):
        return [line]
    level = record.get("level")
    prefix = f"{level} " if isinstance(level, str) and level not in ("", "None") else ""
    return [
        prefix + inner if number == 0 else inner
        for one in said
        for number, part in enumerate(re.split(r"[\r\n]+", one))
        for inner in _unwrapped(part, depth - 1)
    ]


def dated(text):
    """The lines of C(docker logs --timestamps) (str): list of (seconds since the epoch, 0.0 where none is told; line).

    In the order of their times: Docker gives stdout and stderr one after the other.
    """
    found, last = [], 0.0
    for line in text[-MOST_CHARACTERS:].split("\n"):
        match = _TIMESTAMP.match(line)
        last = _seconds(match.group(1)) if match else last
        if line.strip():
            found.append((last, line[match.end() :] if match else line))
    return sorted(found, key=lambda one: one[0])


def _seconds(text):
    try:
        whole = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    fraction = re.match(r"\.\d+", text[19:])
    return whole + float(fraction.group() if fraction else 0)


def telling(found, most=6):
    """Those of lines (list of str) that most likely tell what is wrong: list of str, the last ones where none does."""
    known = [line for line in found if not NOISE.search(line)]
    marked = [line for line in known if _TELLING.search(line) and not line.lstrip().startswith(("INFO", "File "))]
    # The first errors are nearest to the cause, the last line of a traceback says what it was about.
    picked = marked if len(marked) <= most else marked[: most // 2] + marked[-(most - most // 2) :]
    return picked or known[-most:]
