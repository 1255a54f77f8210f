# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What happened on all hosts in the order of time, as a table for people and as data.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _table
from ansible_collections.llmops.nim.plugins.module_utils._clock import age

HEADINGS = ("AT", "HOST", "MODEL", "EVENT", "RELEASE", "COMMIT", "STRATEGY", "BY", "TOOK")
# As many characters of a commit as tell it from others.
SHORT = 8
# No step takes so many seconds, 30 years.
_NEVER = 10**9


def entries(hosts, last):
    """The newest records of all, oldest first (list of dict: a record with host and model), last (int) at most.

    hosts: list of (host, result of nim_ledger).
    """
    found = [
        dict(record, host=host, model=model)
        for host, result in hosts
        for model, ledger in result["models"].items()
        for record in ledger["records"]
    ]
    # Stable: what befell a host in the same second keeps the order of its ledger.
    found.sort(key=lambda record: str(record["at"]))
    return found[-last:] if last > 0 else []


def seconds(timings):
    """The length of all steps together (float), None where none was measured; timings: dict of step to seconds."""
    known = timings.values() if isinstance(timings, dict) else ()
    measured = [value for value in known if isinstance(value, (int, float)) and 0 <= value < _NEVER]
    return sum(measured) if measured else None


def row(record):
    """The cells (list of str) of an entry, of a damaged one with what is left of it."""
    release, took = record["release"], seconds(record.get("timings"))
    return [
        _moment(record["at"]),
        record["host"],
        record["model"],
        _cell(record["event"]),
        _cell(release.get("id")),
        _cell(release.get("commit"))[:SHORT],
        _cell(record.get("strategy")),
        _cell(record.get("who")),
        "-" if took is None else age(round(took)),
    ]


def _cell(value):
    return str(value) if value else "-"


def _moment(at):
    # Without the year, for which a terminal has no room.
    return str(at)[5:16].replace("T", " ")


def table(hosts, last):
    """The timeline (str) of hosts, newest last, and below it why something failed or was rolled back."""
    found = entries(hosts, last)
    if not found:
        return "nothing is recorded yet"
    reasons = [
        f"{_moment(one['at'])} {one['host']} {one['model']} {one['event']} {one['release'].get('id')}: {one['reason']}"
        for one in found
        if one.get("reason")
    ]
    shown = _table.table(HEADINGS, [row(one) for one in found], _table.WIDTH)
    told = [line for reason in reasons for line in _table.wrapped(reason, _table.WIDTH)]
    return "\n".join([shown, "", *told]) if told else shown
