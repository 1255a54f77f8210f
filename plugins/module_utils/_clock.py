# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Points in time as they are written down, and lengths of time for people.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from datetime import datetime, timezone


def now():
    """This second in UTC, as ledgers and locks name it: C(2026-01-31T12:00:00Z)."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_since(text, moment):
    """Seconds (int) from text, a time in UTC as now() or Docker writes it, to moment (aware datetime).

    None where text is no time; 0 where it is still to come, as with clocks that differ.
    """
    try:
        # Docker writes nanoseconds, which no datetime takes.
        begin = datetime.strptime(str(text)[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return max(0, int((moment - begin).total_seconds()))


def age(seconds):
    """A length of time (int seconds, or None) in its two greatest units: C(3d 4h), C(12m 5s)."""
    if seconds is None:
        return "-"
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2]) or "0s"
