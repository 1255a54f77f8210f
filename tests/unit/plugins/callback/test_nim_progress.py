# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a person sees of a run: on a terminal, elsewhere, and after an interruption."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from nim_server import DockerStub, NimServer
from rich.cells import cell_len
from rich.console import Console

from ansible_collections.llmops.nim.plugins.callback.nim_progress import drawn
from ansible_collections.llmops.nim.plugins.module_utils import _progress, _transfers
from ansible_collections.llmops.nim.plugins.module_utils._at_work import Row
from ansible_collections.llmops.nim.plugins.module_utils._how_far import Far

ROOT = Path(__file__).resolve().parents[4]


def screen(rows, width):
    """The lines (list of str) that rows are on a terminal of so many cells."""
    console = Console(file=io.StringIO(), width=width)
    console.print(drawn(rows, width))
    lines = console.file.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) == len(rows)
    return lines


RACK = "東京データセンター第一ラックのサーバー"
FETCHING = Far("weights", "image", 3 * 1024**3, 12 * 1024**3, 1024.0**3, 725)


@pytest.mark.parametrize("width", [40, 100])
def test_rows_fit_the_terminal(width):
    first, second = screen([Row(RACK, "fetching weights", 725), Row("gpu[1]", "x", 3)], width)
    assert "東京" in first
    assert "12m 5s" in first
    assert "gpu[1]" in second
    assert "━" not in first + second


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, ["東京", "━", "25%", "12m 5s left"]),
        (60, ["東京", "weights", "━", "25%", "12m 5s left", "1m 1s"]),
        (80, ["東京", "weights", "━", "25%", "1.0 GiB/s", "12m 5s left", "1m 1s"]),
        (160, [RACK, "weights; image", "━", "25%", "3.0 GiB of 12.0 GiB", "1.0 GiB/s", "12m 5s left", "1m 1s"]),
    ],
)
def test_a_bar_stands_where_bytes_are_known_and_a_narrow_terminal_has_fewer_columns(width, shown):
    first, second = screen([Row(RACK, FETCHING.step, 61, FETCHING), Row("gpu[1]", "becoming ready", 62)], width)
    places = [first.find(part) for part in shown]
    assert -1 not in places, first
    assert places == sorted(places)
    assert "━" not in second
    assert "beco" in second
    assert "1m 2s" in second


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llmops.nim.{module}: {{container: nim-wren-1, url: "{url}", docker: "{docker}", progress_file: "{file}", {more}}}
      vars: {{ansible_python_interpreter: "{python}"}}
"""


@pytest.fixture
def server():
    """A service that never becomes ready."""
    with NimServer() as server:
        server.ready = 503
        yield server


def played(folder, server, module, more):
    """A playbook with one task, that calls a module with further options."""
    docker, file, path = DockerStub(folder).command, folder / "run" / "a.json", folder / "play.yml"
    path.write_text(
        PLAY.format(module=module, url=server.url, docker=docker, file=file, more=more, python=sys.executable)
    )
    return path


@pytest.fixture
def playbook(tmp_path, server):
    """A playbook that waits for the service."""
    return played(tmp_path, server, "nim_ready", "timeout: 60")


def started(playbook, output):
    """The run (Popen) of a playbook, with output (file descriptor) as its terminal or file."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "TERM": "xterm", "COLUMNS": "80"}
    program = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.Popen(
        [program, "-i", "localhost,", playbook],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def read_until(descriptor, wanted):
    """What comes from descriptor (str) until wanted (str) has come, or None is wanted and the other side has ended."""
    seen = b""
    while wanted is None or wanted.encode() not in seen:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # of a terminal whose other side is closed
            block = b""
        if not block:
            assert wanted is None, seen.decode()
            break
        seen += block
    return seen.decode()


def test_an_interrupted_run_on_a_terminal_leaves_it_sane_and_says_how_to_go_on(playbook):
    ours, theirs = pty.openpty()
    run = started(playbook, theirs)
    os.close(theirs)
    seen = read_until(ours, "starting")
    run.send_signal(signal.SIGINT)
    seen += read_until(ours, None)
    run.wait()
    os.close(ours)
    assert "localhost: starting, for " in seen
    assert "The same command goes on" in seen
    # The cursor, which the rows hide, is shown again.
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def left(output):
    """What a terminal has on its screen and above in the end (list of str) of all that was written (str) to it."""
    lines, row, column = [""], 0, 0
    for escape, text in re.findall(r"(\x1b\[[0-9;?]*[A-Za-z])|([\r\n]|[^\x1b\r\n]+)", output):
        if escape.endswith("A"):
            row = max(0, row - int(escape[2:-1] or 1))
        elif escape.endswith("K"):
            lines[row] = ""
        elif text == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif text == "\r":
            column = 0
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return lines


def test_a_failure_keeps_its_full_text_and_the_rows_go(tmp_path, server):
    path = played(tmp_path, server, "nim_ready", "timeout: 3")
    ours, theirs = pty.openpty()
    run = started(path, theirs)
    os.close(theirs)
    seen = read_until(ours, "starting") + read_until(ours, None)
    os.close(ours)
    assert run.wait() == 2, seen
    told = " ".join(" ".join(left(seen)).split())
    for part in (
        "fatal: [localhost]: FAILED!",
        "what: 'Container nim-wren-1 is not ready after 3 s (phase: start)'",
        "evidence: |- line 95 line 96 line 97 line 98 line 99 line 100 remedy:",
        "raise nim_container_ready_timeout if it still makes progress",
        "PLAY RECAP",
    ):
        assert part in told
    assert "starting" not in told


def test_where_there_is_no_terminal_lines_come(playbook):
    reader, writer = os.pipe()
    run = started(playbook, writer)
    os.close(writer)
    seen = read_until(reader, "localhost: starting, for 10s")
    run.send_signal(signal.SIGINT)
    run.wait()
    os.close(reader)
    assert "\x1b" not in seen


def test_a_watch_shows_how_long_it_lasts_still_and_leaves_nothing(tmp_path, server):
    server.ready = 200
    path = played(tmp_path, server, "nim_soak", "seconds: 8")
    ours, theirs = pty.openpty()
    run = started(path, theirs)
    os.close(theirs)
    seen = read_until(ours, "s left")
    assert "watched" in seen
    assert "%" in seen
    seen += read_until(ours, None)
    os.close(ours)
    assert run.wait() == 0, seen
    assert not list((tmp_path / "run").iterdir())


def test_a_task_that_is_not_waited_for_works_as_any_other(tmp_path, server):
    server.ready = 200
    path = played(tmp_path, server, "nim_soak", "seconds: 1")
    path.write_text(path.read_text() + "      async: 60\n      poll: 1\n")
    reader, writer = os.pipe()
    run = started(path, writer)
    os.close(writer)
    seen = read_until(reader, None)
    os.close(reader)
    assert run.wait() == 0, seen
    assert "ASYNC OK" in seen


WAIT = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - llmops.nim.nim_transfers: {{transfers: [a], transfers_dir: "{place}"}}
      vars: {{ansible_python_interpreter: "{python}"}}
"""


def test_a_wait_for_transfers_shows_how_far_they_are_and_ends_with_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path, place, stop = tmp_path / "wait.yml", tmp_path / "transfers", tmp_path / "stop"
    path.write_text(WAIT.format(place=place, python=sys.executable))

    def work():
        while not stop.exists():
            threading.Event().wait(0.05)
        return [], []

    _transfers.begin(str(place), "a", "weights lab/x at 1", work, str(tmp_path / "progress.json"), {"repo": "lab/x"})
    samples = [(0.0, 0), (2.0, 50)]
    (tmp_path / "progress.json").write_text(
        json.dumps(_progress.state({"repo": "lab/x"}, _progress.FETCHING, samples, 100))
    )
    ours, theirs = pty.openpty()
    run = started(path, theirs)
    os.close(theirs)
    seen = read_until(ours, "2s left")
    assert "50%" in seen
    stop.touch()
    seen += read_until(ours, None)
    os.close(ours)
    assert run.wait() == 0, seen
    assert not list(tmp_path.glob("nim-progress-*"))
