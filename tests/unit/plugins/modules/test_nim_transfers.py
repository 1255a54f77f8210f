# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_transfers: one call of the module."""

from __future__ import annotations

import json
import threading

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.module_utils import _transfers
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.modules import nim_transfers

PROBLEM = Problem("The registry refuses the key.", "401", "Make a new key.", "key_refused").as_dict()


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "transfers")


@pytest.fixture
def run(place, monkeypatch, capsys):
    """Run the module; its result (dict)."""

    def call(*names, **params):
        params = {"transfers": names, "transfers_dir": place, **params}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_transfers.main()
        return json.loads(capsys.readouterr().out)

    return call


def begin(place, name, work):
    _transfers.begin(place, name, f"image {name}", work)


@pytest.fixture
def endless(place, tmp_path):
    """A transfer that lasts as long as the test."""
    stop = tmp_path / "stop"

    def work():
        while not stop.exists():
            threading.Event().wait(0.05)
        return [], []

    begin(place, "endless", work)
    yield "endless"
    stop.touch()


def test_it_ends_once_all_are_over(run, place):
    begin(place, "a", lambda: ([], []))
    begin(place, "b", lambda: ([], ["Copied, for want of hard links."]))
    result = run("a", "b", patience=60)
    assert result["over"] is True
    assert [one["ended"] is not None for one in result["transfers"]] == [True, True]
    assert "Copied" in json.dumps(result["warnings"])


def test_it_returns_when_its_patience_is_at_an_end(run, endless):
    result = run(endless, patience=0)
    assert result["over"] is False
    assert result["changed"] is False


def test_the_first_that_fails_is_told_though_another_goes_on(run, place, endless):
    begin(place, "a", lambda: ([PROBLEM], []))
    result = run(endless, "a", patience=60)
    assert result["failed"] is True
    assert result["problem"]["code"] == "key_refused"
    assert result["msg"].startswith("image a:\nThe registry refuses the key.")
    assert "Make a new key." in result["msg"]
