# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import os
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _files, _host_docker, _ledger
from ansible_collections.llmops.nim.plugins.module_utils._host import Result

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures" / "docker"


def release(identity):
    return dict(_ledger.unknown_release("m", f"nim-m-{identity}"), commit="c" * 40)


def record(event, identity, run="run", **details):
    return _ledger.record(event, release(identity), run=run, **details)


def nobody(identity):
    return None


def ids(found):
    return [(found[key] or {}).get("id") for key in ("current", "previous")]


@pytest.fixture
def home(tmp_path):
    return str(tmp_path)


def add(home, *args, **kwargs):
    return _ledger.add(home, "m", record(*args, **kwargs), nobody)


def test_a_release_is_read_from_its_container():
    line = json.dumps(json.loads((FIXTURES / "container.json").read_text()))
    (container,) = _host_docker.releases(Result(0, line, ""))
    found = _ledger.release_of(container)
    labels = container["labels"]
    assert found == {
        "id": labels["llmops.nim.release"],
        "container": f"nim-{labels['llmops.nim.model']}-{labels['llmops.nim.release']}",
        "image": labels["llmops.nim.image"],
        "nim_version": "1.15.5",
        "contract": "1.15",
        "weights": "lab/Llama-3.2-1B-capitals",
        "commit": labels["llmops.nim.commit"],
        "manifest": labels["llmops.nim.manifest"],
        "profile": labels["llmops.nim.profile"],
        "profile_name": labels["llmops.nim.profile_name"],
        "engine": next(
            one.partition("=")[2]
            for one in json.loads(line)["Config"]["Env"]
            if one.startswith("NIM_CUSTOM_MODEL_NAME=")
        ),
        "gpus": [labels["llmops.nim.gpus"]],
        "port": int(labels["llmops.nim.port"]),
        "served_name": labels["llmops.nim.served_name"],
    }
    assert set(found) == set(_ledger.unknown_release("m", "nim-m-1"))
    assert "nvapi" not in json.dumps(found)


def test_an_activation_makes_the_one_before_previous(home):
    assert add(home, "activated", "v1")[0]
    changed, after = add(home, "activated", "v2", **{"from": "v1"}, strategy="in_place", timings={"start": 1.5})
    assert changed
    assert ids(after) == ["v2", "v1"]
    assert after["last"]["strategy"] == "in_place"
    assert after["last"]["timings"] == {"start": 1.5}
    assert after["current"]["at"] == after["last"]["at"]
    assert _ledger.read(home, "m") == after
    assert _files.read_json(_ledger.state_path(home, "m")) == {key: after[key] for key in ("current", "previous")}
    assert oct(os.stat(_ledger.ledger_path(home, "m")).st_mode & 0o777) == "0o640"
    assert _ledger.models(home) == ["m"]


def test_a_rollback_and_back_again(home):
    add(home, "activated", "v1")
    add(home, "activated", "v2", run="r2")
    assert ids(add(home, "rolled_back", "v1", run="r3")[1]) == ["v1", "v2"]
    assert ids(add(home, "rolled_back", "v2", run="r4")[1]) == ["v2", "v1"]


def test_a_failure_changes_nothing_that_serves(home):
    add(home, "activated", "v1")
    _changed, after = add(home, "failed", "v2", reason="it ended with exit status 1")
    assert ids(after) == ["v1", None]
    assert after["last"]["event"] == "failed"
    assert after["last"]["reason"] == "it ended with exit status 1"


def test_the_same_event_is_recorded_once_a_run(home):
    assert add(home, "activated", "v1")[0]
    assert not add(home, "activated", "v1")[0]
    assert add(home, "rolled_back", "v1")[0]
    assert add(home, "activated", "v1", run="another")[0]
    assert len(_ledger.records(home, "m")) == 3


def test_a_dry_run_only_tells(home):
    changed, after = _ledger.add(home, "m", record("activated", "v1"), nobody, dry=True)
    assert (changed, ids(after)) == (True, ["v1", None])
    assert os.listdir(home) == []


def test_what_served_before_there_was_a_ledger_is_the_way_back(home):
    found = {"v1": release("v1")}.get
    _changed, after = _ledger.add(home, "m", record("activated", "v2", **{"from": "v1"}), found)
    assert ids(after) == ["v2", "v1"]
    assert [one["event"] for one in _ledger.records(home, "m")] == ["found", "activated"]
    assert not _ledger.add(home, "m", record("activated", "v2", **{"from": "v1"}), found)[0]


def test_what_cannot_be_found_any_more_is_not_made_up(home):
    _changed, after = add(home, "activated", "v2", **{"from": "v1"})
    assert ids(after) == ["v2", None]
    assert after["last"]["from"] == "v1"


def test_a_release_found_is_recorded_where_it_is_not_current(home):
    assert add(home, "found", "v1")[0]
    assert not add(home, "found", "v1", run="another")[0]
    assert add(home, "found", "v2", run="another")[0]
    assert ids(_ledger.read(home, "m")) == ["v2", "v1"]


def test_a_lost_ledger_is_stood_in_for(home):
    add(home, "activated", "v1")
    add(home, "activated", "v2", run="r2")
    os.remove(_ledger.ledger_path(home, "m"))
    assert ids(_ledger.read(home, "m")) == ["v2", "v1"]
    assert _ledger.models(home) == ["m"]
    assert ids(add(home, "failed", "v3", run="r3")[1]) == ["v2", "v1"]
    assert ids(add(home, "activated", "v3", run="r4", **{"from": "v2"})[1]) == ["v3", "v2"]
    assert [one["event"] for one in _ledger.records(home, "m")] == ["failed", "found", "activated"]


def test_a_lost_or_stale_state_is_made_anew(home):
    add(home, "activated", "v1")
    stale = _files.read_json(_ledger.state_path(home, "m"))
    add(home, "activated", "v2", run="r2")
    for spoil in (
        lambda path: os.remove(path),
        lambda path: _files.write_json(path, stale),
        lambda path: open(path, "w").close(),
    ):
        spoil(_ledger.state_path(home, "m"))
        assert ids(_ledger.read(home, "m")) == ["v2", "v1"]
        assert add(home, "activated", "v2", run="r2")[0]
        assert _files.read_json(_ledger.state_path(home, "m"))["current"]["id"] == "v2"
    assert len(_ledger.records(home, "m")) == 2


def test_there_may_be_nothing(home):
    assert _ledger.read(home, "m") == {"current": None, "previous": None, "last": None}
    assert _ledger.models(home + "/none") == []


def test_keys_and_lengths_have_no_place_in_it():
    found = record(
        "failed",
        "v1",
        reason="401 for nvapi-0123456789abcdef at hub " + "x" * 5000,
        verdicts=[{"text": "Authorization: Bearer abc.def"}, "hf_0123456789", 3],
    )
    text = json.dumps(found)
    for secret in ("0123456789", "abc.def"):
        assert secret not in text
    assert len(found["reason"]) == 2000
    assert found["verdicts"][2] == 3


EVENTS = st.lists(st.tuples(st.sampled_from(_ledger.EVENTS), st.sampled_from("abcd")), min_size=1, max_size=8)


@given(EVENTS, st.data())
def test_a_cut_at_any_byte_costs_only_the_record_it_is_in(events, data):
    lines = [json.dumps(record(event, identity, run=str(at))).encode() for at, (event, identity) in enumerate(events)]
    content = b"".join(line + b"\n" for line in lines)
    cut = data.draw(st.integers(0, len(content)))
    whole = sum(1 for at in range(len(lines)) if sum(len(line) + 1 for line in lines[: at + 1]) - 1 <= cut)
    assert _ledger.parse(content[:cut]) == [json.loads(line) for line in lines[:whole]]


# Each line is flushed to the disk.
@settings(max_examples=15)
@given(EVENTS, st.integers(0, 40))
def test_a_ledger_that_was_torn_goes_on(tmp_path_factory, events, lost):
    home = str(tmp_path_factory.mktemp("home"))
    os.mkdir(os.path.join(home, "m"))
    path = _ledger.ledger_path(home, "m")
    for at, (event, identity) in enumerate(events):
        add(home, event, identity, run=str(at))
        with open(path, "ab") as stream:
            stream.write(json.dumps(record(event, "torn")).encode()[:lost])
    recorded = _ledger.records(home, "m")
    assert "torn" not in [one["release"]["id"] for one in recorded]
    assert recorded[-1]["release"]["id"] == events[-1][1] or events[-1][0] == "found"
    serving = [one["release"]["id"] for one in recorded if one["event"] in _ledger.SERVING]
    state = _ledger.state(recorded)
    assert ids(state)[0] == (serving[-1] if serving else None)
    others = [one for one in serving if one != ids(state)[0]]
    assert ids(state)[1] == (others[-1] if others else None)


@given(st.binary(max_size=200))
def test_any_content_can_be_read(content):
    assert isinstance(_ledger.parse(content), list)
