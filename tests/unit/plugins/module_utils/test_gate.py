# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from fleet_told import benchmark

from ansible_collections.llmops.nim.plugins.module_utils import _gate

BEFORE = {"id": "0f9e8d7c", "container": "nim-capitals-0f9e8d7c"}


def planned(name="capitals", before=BEFORE, strategy="in_place"):
    return {"model": {"name": name}, "predecessor": before, "swap": {"strategy": strategy}}


def damaged(record):
    return dict(record, measured=dict(record["measured"], steps="lost"))


def test_a_release_is_measured_as_its_predecessor_was_last():
    records = [
        benchmark("0f9e8d7c", at="2026-01-01T00:00:00Z"),
        benchmark("0f9e8d7c", at="2026-01-02T00:00:00Z"),
        # What cannot be read does not hide what can be.
        damaged(benchmark("0f9e8d7c", at="2026-01-03T00:00:00Z")),
        benchmark("11111111", at="2026-01-04T00:00:00Z"),
        # Its own, of a run before.
        benchmark("1a2b3c4d", at="2026-01-05T00:00:00Z"),
    ]
    found = _gate.gates([planned(strategy="other_gpu")], {"capitals": records}, 0.1)
    assert found["without"] == []
    gate = found["gates"]["capitals"]
    assert (gate["reference"]["at"], gate["most"]) == ("2026-01-02T00:00:00Z", 0.1)
    assert gate["load"] == {
        "api": "completions",
        "input_tokens": 512,
        "output_tokens": 128,
        "extra_inputs": {},
        "concurrency": [1, 16],
        "requests": 100,
    }


def test_one_that_once_was_taken_back_and_serves_all_the_same_is_one_to_go_by():
    records = [benchmark("0f9e8d7c", reason="too slow")]
    assert _gate.gates([planned()], {"capitals": records}, 0.1)["gates"]["capitals"]["reference"] == records[0]


@pytest.mark.parametrize(
    ("item", "records", "words"),
    [
        (planned(before=None), [benchmark("0f9e8d7c")], "nothing served before it"),
        (planned(strategy="side_by_side"), [benchmark("0f9e8d7c")], "nim_strategy=in_place"),
        (planned(), [], "no benchmark of nim-capitals-0f9e8d7c"),
        (planned(), [benchmark("11111111")], "no benchmark of nim-capitals-0f9e8d7c"),
        (planned(), [damaged(benchmark("0f9e8d7c"))], "playbooks/benchmark.yml"),
    ],
)
def test_what_is_not_measured_is_told(item, records, words):
    found = _gate.gates([item, planned("wren")], {"capitals": records, "wren": [benchmark("0f9e8d7c")]}, 0.1)
    assert list(found["gates"]) == ["wren"]
    (told,) = found["without"]
    assert told.startswith("capitals is not measured: ")
    assert words in told


def test_a_release_is_asked_on_its_own_port():
    release = {
        "container": "nim-capitals-1a2b3c4d",
        "id": "1a2b3c4d",
        "port": 18000,
        "labels": {"llmops.nim.served_name": "base,capitals"},
        "volumes": ["/var/lib/nim/weights/lab--a/0123:/model:ro", "/var/lib/nim/capitals/cache:/opt/nim/.cache:rw"],
    }
    assert _gate.staged(dict(planned(), release=release), "192.0.2.1", "chat") == {
        "container": "nim-capitals-1a2b3c4d",
        "model": "capitals",
        "release": "1a2b3c4d",
        "base_url": "http://192.0.2.1:18000/v1",
        "served_name": "base,capitals",
        "api": "chat",
        "snapshot": "/var/lib/nim/weights/lab--a/0123",
    }
