# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Work that goes on when the connection of the control node, and with it the module, ends.

Private to the collection: breaking changes at any time.

Ansible's own way, C(async), writes the module to the server's disk with its options, for as long as the work lasts;
options hold tokens. A child process has them in its memory.
"""

from __future__ import annotations

import json
import os
import signal
import traceback

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def call(work):
    """What work() returns (anything that JSON can say), from a process in a session of its own; waits for it.

    Raises RuntimeError with the trace where work() raised, and a Problem where its process was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _work(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    status = os.waitpid(child, 0)[1]
    if not answer:
        raise Problem(
            "The process that does the work was killed.",
            f"process {child}, by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"process {child}",
            "Run again: what it has done so far is kept.",
            "killed",
        )
    found = json.loads(answer)
    if "trace" in found:
        raise RuntimeError(found["trace"])
    return found["returned"]


def begin(work):
    """Have work() done by a process in a session of its own, and wait for nothing.

    Nobody hears what it returns or raises: work() itself is to leave word. It may hold open files of this process,
    and locks by them. Returns the id of the process.
    """
    child = os.fork()
    if child == 0:
        try:
            _leave_session()
            work()
        finally:
            os._exit(0)
    return child


def _leave_session():
    """In the child: leave the session of the connection."""
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # or the connection would wait for them to be closed
        os.dup2(nothing, descriptor)


def _work(work, writer):
    """In the child: work, answer, end."""
    try:
        _leave_session()
        try:
            answer = {"returned": work()}
        except BaseException:  # whatever it is, the parent is to tell it
            answer = {"trace": traceback.format_exc()}
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(answer).encode())
    except BrokenPipeError:  # nobody waits any more
        pass
    finally:
        os._exit(0)
