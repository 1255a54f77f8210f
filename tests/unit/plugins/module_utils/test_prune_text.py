# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _prune_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (5 * 1024**2, "5 MiB"), (3 * 1024**4, "3072.0 GiB")],
)
def test_sizes(count, text):
    assert _prune_text.size(count) == text


RESULT = {
    "removed": [{"kind": "container", "model": "m", "name": "nim-m-1", "bytes": 2048}],
    "kept": [{"kind": "image", "model": None, "name": "x@sha256:1", "reason": "used by y"}],
    "bytes_freed": 2048,
}
NOTHING = {"removed": [], "kept": [], "bytes_freed": 0}


def test_what_went_and_what_stays():
    text = _prune_text.table([("gpu1", RESULT), ("gpu2", NOTHING)])
    assert text.splitlines() == [
        "HOST  GONE       NAME     BYTES",
        "gpu1  container  nim-m-1  2 KiB",
        "",
        "HOST  KEPT   NAME        WHY",
        "gpu1  image  x@sha256:1  used by y",
        "",
        "gpu1: 2 KiB freed",
        "gpu2: 0 B freed",
    ]


def test_a_dry_run_says_so():
    text = _prune_text.table([("gpu1", RESULT)], dry=True)
    assert "WOULD GO" in text
    assert "2 KiB to free" in text
    assert _prune_text.table([("gpu2", NOTHING)], dry=True) == "gpu2: 0 B to free"


def test_long_names_are_cut():
    names = [f"lab/x@{'a1' * 20}", f"nvcr.io/x@sha256:{'b2' * 32}", "m-0123456789ab"]
    removed = [{"kind": "k", "model": None, "name": name, "bytes": 0} for name in names]
    text = _prune_text.table([("gpu1", dict(NOTHING, removed=removed))])
    assert [line.split()[2] for line in text.splitlines()[1:4]] == [
        "lab/x@a1a1a1a1a1a1",
        "nvcr.io/x@sha256:b2b2b2b2b2b2",
        "m-0123456789ab",
    ]
