"""docs/benchmarks.md: each section is written by the program that measures it, in the place of the one before."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
START = "# Benchmarks\n\nEach section is written by a program that measures, and replaced when it runs again.\n"


def machine():
    """What this machine is (str): no name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.freedesktop_os_release()['PRETTY_NAME']}"


def put(heading, text):
    """Put a section, its heading (as C(## Rollouts)) and its text (str), into the page."""
    page = PAGE.read_text() if PAGE.exists() else START
    before, _heading, rest = page.partition(heading + "\n")
    following = re.search(r"^## ", rest, re.MULTILINE)
    after = "\n" + rest[following.start() :] if following else ""
    PAGE.write_text(f"{before.rstrip()}\n\n{heading}\n\n{text.rstrip()}\n{after}")
