# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Work in a process of its own."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _detached
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def test_it_answers_from_a_session_of_its_own():
    found = _detached.call(lambda: [os.getpid(), os.getsid(0), os.readlink("/proc/self/fd/1")])
    assert found == [found[0], found[0], os.devnull]
    assert found[0] != os.getpid()


def test_what_it_raises_is_told():
    def fail():
        raise ValueError("for a reason")

    with pytest.raises(RuntimeError, match="for a reason"):
        _detached.call(fail)


def test_that_it_was_killed_is_told():
    with pytest.raises(Problem) as caught:
        _detached.call(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.code == "killed"
    assert "signal 9" in caught.value.evidence
