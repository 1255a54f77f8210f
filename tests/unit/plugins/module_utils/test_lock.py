# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import multiprocessing

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _lock
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def wanted(run, **changes):
    return dict(
        {"who": "ada", "controller": "desk", "run": run, "why": "deploy", "at": "2026-01-31T12:00:00Z", "pid": 7},
        **changes,
    )


@pytest.fixture
def path(tmp_path):
    return _lock.path(str(tmp_path / "nim"))


def test_a_lock_is_one_run_s(path):
    assert _lock.read(path) is None
    assert _lock.take(path, wanted("one")) == (True, None)
    assert _lock.read(path) == wanted("one")
    assert _lock.take(path, wanted("one", at="later")) == (False, None)
    assert _lock.read(path) == wanted("one")
    with pytest.raises(Problem) as raised:
        _lock.take(path, wanted("two"))
    assert raised.value.code == "locked"
    for word in ("ada", "desk", "run one", "process 7", "2026-01-31T12:00:00Z", "deploy"):
        assert word in raised.value.evidence
    assert "-e nim_break_lock=true" in raised.value.remedy
    with pytest.raises(Problem):
        _lock.release(path, "two")
    assert _lock.read(path) == wanted("one")
    assert _lock.release(path, "one") == (True, None)
    assert _lock.release(path, "one") == (False, None)
    assert _lock.release(path, "two") == (False, None)


def test_a_lock_is_broken_on_purpose(path):
    _lock.take(path, wanted("one"))
    assert _lock.take(path, wanted("two"), break_lock=True) == (True, wanted("one"))
    assert _lock.read(path)["run"] == "two"
    with pytest.raises(Problem):
        _lock.release(path, "one")
    assert _lock.release(path, "one", break_lock=True) == (True, wanted("two"))
    assert _lock.read(path) is None
    assert _lock.take(path, wanted("one"), break_lock=True) == (True, None)
    assert _lock.take(path, wanted("one"), break_lock=True) == (False, None)


def test_a_dry_run_only_tells(path, tmp_path):
    assert _lock.take(path, wanted("one"), dry=True) == (True, None)
    assert not (tmp_path / "nim").exists()
    _lock.take(path, wanted("one"))
    with pytest.raises(Problem):
        _lock.take(path, wanted("two"), dry=True)
    assert _lock.take(path, wanted("two"), break_lock=True, dry=True) == (True, wanted("one"))
    assert _lock.release(path, "one", dry=True) == (True, None)
    assert _lock.read(path) == wanted("one")


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"who": "ada"})])
def test_a_damaged_lock_is_another_s(path, content):
    _lock.take(path, wanted("one"))
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(content)
    for run in ("one", None):
        with pytest.raises(Problem) as raised:
            _lock.check(_lock.read(path), run)
        assert "run unknown" in raised.value.evidence
    assert _lock.take(path, wanted("one"), break_lock=True)[0]
    assert _lock.read(path) == wanted("one")


def test_of_many_that_ask_at_once_one_has_it(path):
    def child(number, results):
        try:
            results.put(_lock.take(path, wanted(f"run {number}"))[0])
        except Problem:
            results.put(False)

    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=child, args=(number, results)) for number in range(8)]
    for process in processes:
        process.start()
    taken = [results.get(timeout=60) for _process in processes]
    for process in processes:
        process.join()
    assert sorted(taken) == [False] * 7 + [True]
