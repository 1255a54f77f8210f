# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _status

RELEASE = {
    "model": "capitals",
    "release": "1a2b3c4d",
    "health": "ready",
    "age_seconds": 93784,
    "port": 8000,
    "commit": "0123456789abcdef" * 2 + "01234567",
    "image": "nvcr.io/nim/meta/llama-3.2-1b-instruct@sha256:" + "a" * 64,
    "profile_name": "vllm-bf16-tp1-pp1",
    "labels": {"llmops.nim.nim_version": "1.8.4"},
}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (93784, "1d 2h")]
)
def test_an_age_has_two_units(seconds, text):
    assert _status.age(seconds) == text


def test_a_release_is_a_row_and_columns_stand_in_line():
    heading, ready, none = _status.table([("gpu1", [RELEASE]), ("gpu-2", [])]).splitlines()
    assert ready.split() == (
        [
            "gpu1",
            "capitals",
            "1a2b3c4d",
            "ready",
            "1d",
            "2h",
            "8000",
            "0123456789ab",
            "llama-3.2-1b-instruct:1.8.4",
            "vllm-bf16-tp1-pp1",
        ]
    )
    assert heading.index("HEALTH") == ready.index("ready")
    assert none.split() == ["gpu-2", "no", "release"]


def test_what_is_unknown_is_a_dash():
    bare = dict(
        RELEASE, release=None, port=None, commit=None, image=None, profile_name=None, labels={}, age_seconds=None
    )
    assert _status.table([("gpu1", [dict(bare, health="exited")])]).splitlines()[1].split() == (
        ["gpu1", "capitals", "-", "exited", "-", "-", "-", "-", "-"]
    )
