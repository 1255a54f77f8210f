# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _history


def cells(text):
    """How many cells of a terminal a text takes, which EUC-JP has a byte for."""
    return len(text.encode("euc_jp"))


def record(at, identity="1a2b3c4d", **changes):
    return dict(
        {
            "at": at,
            "event": "activated",
            "release": {"id": identity, "commit": "c0ffee" + "0" * 34, "profile": "f" * 64},
            "from": None,
            "strategy": "side_by_side",
            "who": "ada",
            "reason": None,
            "timings": {"start": 90.04, "soak": 60},
        },
        **changes,
    )


def result(*records):
    return {"models": {"capitals": {"records": list(records)}}}


HOSTS = [
    ("gpu1", result(record("2026-01-31T12:00:05Z"), record("2026-01-31T12:00:05Z", "b", event="rolled_back"))),
    ("gpu2", result(record("2026-01-31T11:59:00Z", "a", event="failed", reason="it ended\nwith 1", timings={}))),
    ("gpu3", {"models": {}}),
]


def test_the_newest_is_last():
    assert [one["release"]["id"] for one in _history.entries(HOSTS, 20)] == ["a", "1a2b3c4d", "b"]
    assert [one["release"]["id"] for one in _history.entries(HOSTS, 1)] == ["b"]
    assert _history.entries(HOSTS, 0) == []
    assert {(one["host"], one["model"]) for one in _history.entries(HOSTS, 2)} == {("gpu1", "capitals")}


def test_a_table_with_the_reasons_below():
    heading, failed, activated, rolled_back, blank, *reasons = _history.table(HOSTS, 20).splitlines()
    assert heading.split() == list(_history.HEADINGS)
    assert failed.split()[:6] == ["01-31", "11:59", "gpu2", "capitals", "failed", "a"]
    assert activated.split()[6:] == ["c0ffee00", "side_by_side", "ada", "2m", "30s"]
    assert rolled_back.split()[4] == "rolled_back"
    assert failed.split()[-1] == "-"
    assert blank == ""
    assert "\n".join(reasons) == "01-31 11:59 gpu2 capitals failed a: it ended\nwith 1"


def test_a_table_fits_a_terminal():
    hosts = [("gpu1", result(record("2026-01-31T12:00:05Z", reason="it ended " * 30)))]
    _heading, _row, blank, *reason = _history.table(hosts, 20).splitlines()
    assert blank == ""
    assert max(map(cells, reason)) <= 92
    for name in ("gpu-server-17.datacenter.example.com", "東京データセンター第一ラックのサーバー"):
        hosts = [(name, result(record("2026-01-31T12:00:05Z", who="automation-platform", reason="止まった" * 30)))]
        assert max(map(cells, _history.table(hosts, 20).splitlines())) <= 92


def test_columns_stand_in_line_below_a_name_in_japanese():
    hosts = [("東京1", result(record("2026-01-31T12:00:05Z"))), ("gpu-2", result(record("2026-01-31T12:00:06Z")))]
    lines = _history.table(hosts, 20).splitlines()
    assert len({cells(line.partition(word)[0]) for line, word in zip(lines, ("EVENT", *["activated"] * 2))}) == 1


def test_a_damaged_record_is_shown_with_what_is_left_of_it():
    damaged = record(None, identity=[7], event=5, strategy={"a": 1}, who=None, timings=[3])
    hosts = [("gpu1", result(damaged, record("2026-01-31T12:00:05Z", timings={"start": "soon", "soak": 1e999})))]
    _heading, whole, odd = _history.table(hosts, 20).splitlines()
    assert odd.split() == ["gpu1", "capitals", "5", "[7]", "c0ffee00", "{'a':", "1}", "-", "-"]
    assert whole.split()[-1] == "-"
