# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _status


def cells(text):
    """How many cells of a terminal a text takes, which EUC-JP has a byte for."""
    return len(text.encode("euc_jp"))


RELEASE = {
    "model": "capitals",
    "container": "nim-capitals-1a2b3c4d",
    "release": "1a2b3c4d",
    "health": "ready",
    "age_seconds": 93784,
    "port": 8000,
    "commit": "0123456789abcdef" * 2 + "01234567",
    "image": "nvcr.io/nim/meta/llama-3.2-1b-instruct@sha256:" + "a" * 64,
    "profile_name": "vllm-bf16-tp1-pp1",
    "weights": "acme/capitals",
    "labels": {"llmops.nim.nim_version": "1.8.4", "llmops.nim.manifest": "fedcba9876543210" * 4},
}


GOOD = {"releases": [RELEASE], "drift": [], "lock": None}
NONE = {"releases": [], "drift": [], "lock": None}


def drift(container="nim-capitals-1a2b3c4d", release="1a2b3c4d", kind="image", what="its image is another"):
    return {"model": "capitals", "container": container, "release": release, "kind": kind, "what": what}


def parts(hosts):
    """The lines of each table, and of what stands below."""
    return [part.splitlines() for part in _status.table(hosts).split("\n\n")]


def test_a_release_is_a_row_and_columns_stand_in_line():
    (heading, ready, none), (_heading, served) = parts([("gpu1", GOOD), ("gpu-2", NONE)])
    assert ready.split() == ["gpu1", "capitals", "1a2b3c4d", "ready", "-", "1d", "2h", "8000", "vllm-bf16-tp1-pp1"]
    assert heading.index("HEALTH") == ready.index("ready")
    assert none.split() == ["gpu-2", "no", "release"]
    assert served.split() == (
        ["gpu1", "1a2b3c4d", "acme/capitals@0123456789ab", "fedcba987654", "llama-3.2-1b-instruct:1.8.4"]
    )


def test_an_image_by_its_id_goes_by_its_name():
    labels = dict(RELEASE["labels"], **{"llmops.nim.image_name": "nvcr.io:443/nim/meta/llama-3.2-1b-instruct:latest"})
    assert _status.image_of(dict(RELEASE, image="sha256:" + "e" * 64, labels=labels)) == "llama-3.2-1b-instruct:1.8.4"


def test_what_is_unknown_is_a_dash():
    blank = dict.fromkeys(("release", "port", "commit", "weights", "image", "profile_name", "age_seconds"))
    found = dict(GOOD, releases=[dict(RELEASE, labels={}, health="exited", **blank)])
    (_heading, row), (_other, served) = parts([("gpu1", found)])
    assert row.split() == ["gpu1", "capitals", "-", "exited", "-", "-", "-", "-"]
    assert served.split() == ["gpu1", "-", "-", "-", "-"]


def test_it_fits_a_terminal_whatever_the_names():
    long = dict(
        RELEASE,
        profile_name="tensorrt_llm-h100_hbm3_80gb-fp8-tp1-pp1-throughput-lora",
        weights="an-organisation-with-a-long-name/Llama-3.3-Nemotron-Super-49B-v1.5-首都",
    )
    found = dict(GOOD, releases=[long], drift=[drift(what="its weights were altered: " + "a/file/of/it " * 20)])
    for name in ("gpu-server-17.datacenter.example.com", "東京データセンター第一ラックのサーバー"):
        shown = _status.table([(name, found)])
        assert max(map(cells, shown.splitlines())) <= 92


def test_columns_stand_in_line_below_a_name_in_japanese():
    for table, word in zip(parts([("東京1", GOOD), ("gpu-2", GOOD)]), ("capitals", "1a2b3c4d")):
        assert len({cells(line.partition(word)[0]) for line in table[1:]}) == 1


def test_drift_is_named_in_its_row_and_told_below():
    found = dict(GOOD, drift=[drift(), drift(kind="weights", what="its weights were altered")])
    (_heading, row), _served, told = parts([("gpu1", found)])
    assert "  image, weights  " in row
    assert told == [
        "gpu1 capitals 1a2b3c4d: its image is another",
        "gpu1 capitals 1a2b3c4d: its weights were altered",
    ]


def test_what_only_the_ledger_knows_has_a_row():
    found = dict(NONE, drift=[drift("nim-capitals-0f9e8d7c", "0f9e8d7c", "not running", "its container is gone")])
    _heading, row, *_told = _status.table([("gpu1", found)]).splitlines()
    assert row.split() == ["gpu1", "capitals", "0f9e8d7c", "gone", "not", "running"]


def test_a_lock_is_told_below():
    lock = {"who": "ada", "controller": "desk", "run": "r1", "why": "deploy", "at": None, "pid": None}
    assert _status.table([("gpu1", dict(GOOD, lock=lock))]).splitlines()[-1] == (
        "gpu1: locked by ada from desk (run r1) since an unknown time (-): deploy"
    )
