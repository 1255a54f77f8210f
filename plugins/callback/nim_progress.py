# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Shows which hosts are at work on a step that takes long, while it does."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nim_progress
short_description: Show which hosts are at work on long steps of a rollout
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
type: notification
description:
  - Beside any other callback, shows for each host the step that it is at and for how long, while Ansible itself is
    silent. The steps are image, weights, profiles, engine, start, answers, watching, and drains.
  - On a terminal the rows stand below the output and are drawn anew. Elsewhere, as in a log file, a host has a line
    after ten seconds at a step, and each further one after as long again, five minutes at most. Where it is known how
    much is done there is also one for each ten percent, but none sooner than ten seconds after the last.
  - With more than ten hosts at work, the hosts are counted by step, and the one that takes longest is named.
  - After an interruption it says what was being done, and how to go on.
  - Of transfers that M(llmops.nim.nim_transfers) waits for it shows how much has come, at which rate, and how long it
    takes still; of a start the phase, and how much was downloaded; of a drain how many requests have ended; of a watch
    how long it lasts still.
  - What a start, a drain or a watch tells is read from a small file on the host every two seconds, over the connection
    that its task has. No further module is called.
requirements:
  - to be listed in C(callbacks_enabled) of the configuration
  - rich (Python package); without it a terminal gets lines as well
"""

import atexit
import os
import sys
import threading
import time

from ansible.plugins.callback import CallbackBase

from ansible_collections.llmops.nim.plugins.module_utils._at_work import AtWork, interrupted
from ansible_collections.llmops.nim.plugins.plugin_utils import _board

try:
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text
except ImportError:
    Live = None

TICK_SECONDS = 0.5
# Steps that are over sooner are not worth a flicker.
SHOWN_AFTER = 1


# The columns, each with the width that a terminal has to have for it.
WIDTHS = {"who": 0, "step": 60, "bar": 0, "percent": 0, "amounts": 110, "speed": 80, "left": 0, "length": 60}
# These share what the others leave.
SHARES = {"who": 2, "step": 2, "bar": 1}


def drawn(rows, width):
    """The rows (list of Row) as a table for a terminal of width cells: names are cut, numbers are not.

    Where nobody knows how much is done there are no columns for that. A narrow terminal has the bar in the place of the
    step, and the time left in the place of the time that it takes by now.
    """
    measured = any(row.far and row.far.what for row in rows)
    wanted = [column for column in WIDTHS if width >= WIDTHS[column]] if measured else ["who", "step", "length"]
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), expand=True)
    for column in wanted:
        style = {"who": "bold", "left": "cyan", "length": "cyan"}.get(column)
        table.add_column(style=style, no_wrap=True, overflow="ellipsis", ratio=SHARES.get(column))
    for row in rows:
        cells = cells_of(row)
        if "step" not in wanted:
            cells["bar"], cells["left"] = cells["bar"] or cells["step"], cells["left"] or cells["length"]
        table.add_row(*(cells[column] for column in wanted))
    return table


def cells_of(row):
    """What is in each column of a Row; nothing where it is not known."""
    # Of Text a bracket in a name is no markup.
    cells = {**dict.fromkeys(WIDTHS, ""), "who": Text(row.who), "step": Text(row.step), "length": row.length}
    if row.percent is not None:
        cells["bar"] = ProgressBar(total=row.far.total, completed=row.far.done)
        cells["percent"] = f"{row.percent}%"
    if row.far:
        cells["amounts"], cells["speed"], cells["left"] = row.far.amounts, row.far.speed, row.far.left
    return cells


class CallbackModule(CallbackBase):
    """Keeps who is at work, and a thread that shows it."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "llmops.nim.nim_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._at_work = AtWork()
        # Ansible holds it while it writes, and while it forks a worker, which so inherits nothing half written.
        self._writing = getattr(self._display, "_lock", None) or threading.RLock()
        self._live = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._owner = os.getpid()
        self._board = None

    def v2_playbook_on_start(self, playbook):
        self._board = _board.put_up()
        self._thread.start()
        atexit.register(self._leave)

    def v2_runner_on_start(self, host, task):
        with self._writing:
            self._at_work.begin(host.get_name(), task.action, time.monotonic())

    def v2_runner_on_ok(self, result):
        host = result._host.get_name()
        with self._writing:
            self._hear(host)
            self._at_work.end(host)

    v2_runner_on_skipped = v2_runner_on_unreachable = v2_runner_on_ok

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats):
        """The run has come to its end; all is told."""
        self._over.set()
        with self._writing:
            self._clear()

    def _show(self):
        while not self._over.wait(TICK_SECONDS):
            with self._writing:
                if not self._over.is_set():
                    self._tell(time.monotonic())

    def _hear(self, host):
        """Takes into account how far a host says that it is."""
        self._at_work.tell(host, *_board.hear(self._board, host))

    def _tell(self, now):
        """Shows what there is to be shown, with the lock held."""
        for host in self._at_work.hosts():
            self._hear(host)
        if Live is None or not (self._live or sys.stdout.isatty()):
            for line in self._at_work.lines(now):
                self._display.display(line)
            return
        rows = self._at_work.rows(now, SHOWN_AFTER)
        if not rows:
            self._clear()
            return
        if not self._live:
            # What others print goes above it. No thread of its own, since that would not hold the lock.
            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(drawn(rows, self._live.console.width), refresh=True)

    def _clear(self):
        if self._live:
            self._live.stop()
            self._live = None

    def _leave(self):
        """At the end of the process. Where the run did not come to its own, somebody has interrupted it."""
        if os.getpid() != self._owner:
            return
        _board.take_down(self._board)
        if self._over.is_set():
            return
        self._over.set()
        self._clear()
        rows = self._at_work.rows(time.monotonic())
        if rows:
            sys.stderr.write(interrupted(rows) + "\n")
