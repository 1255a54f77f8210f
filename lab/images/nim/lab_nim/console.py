# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the container prints: Python's log lines and listings on stdout, those of the download library on stderr."""

from __future__ import annotations

import sys
from datetime import datetime, timezone


def say(text: str = "") -> None:
    print(text, flush=True)


def log(source: str, message: str, level: str = "INFO") -> None:
    """A line as NIM's Python code writes it; source is file:line."""
    now = datetime.now(timezone.utc)
    say(f"{level} {now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d} {source}] {message}")


def log_download(target: str, message: str) -> None:
    """A line as NIM's download library (written in Rust) writes it."""
    print(f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%fZ}  INFO {target}: {message}", file=sys.stderr, flush=True)


class Refusal(Exception):
    """The container ends here, with status 1. The text is logged as an error of source, or is an exception's."""

    def __init__(self, text: str, source: str = "") -> None:
        super().__init__(text)
        self.source = source

    def show(self) -> None:
        if self.source:
            log(self.source, str(self), level="ERROR")
        else:
            print(self, file=sys.stderr, flush=True)
