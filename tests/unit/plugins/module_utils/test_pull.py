# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What docker pull draws on a terminal, understood; and a command that is watched."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _pull

ONE, TWO, THREE = "1" * 12, "2" * 12, "a1b2c3d4e5f6"
SIZES = {ONE: 3_000_000, TWO: 1_000_000, THREE: 2_500}
BEGIN = f"main: Pulling from nim/meta/x\r\n{ONE}: Pulling fs layer \r\n{TWO}: Waiting \r\n{THREE}: Already exists \r\n"


def drawn(layer, words):
    """A line drawn anew, as docker does it."""
    return f"\x1b[2A\x1b[2K\r{layer}: {words}\r\x1b[2B"


def layers(*words, sizes=SIZES):
    found = _pull.Layers(sizes)
    for one in words:
        found.read(one)
    return found


def told(found):
    return found.bytes, found.total, found.unpacking


def test_before_the_first_word_all_is_to_come():
    assert told(layers()) == (0, 4_002_500, False)
    assert told(layers(sizes={})) == (0, None, False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Downloading  1.5MB/3MB", 1_500_000),
        ("Downloading [=========>          ]  1.5MB/3MB", 1_500_000),
        ("Downloading     512B/3MB", 512),
        ("Downloading  900.5kB/3MB", 900_500),
        ("Downloading  3.1MB/3.1MB", 3_000_000),
        ("Downloading", 0),
        ("Waiting", 0),
        ("Verifying Checksum", 3_000_000),
        ("Download complete", 3_000_000),
        ("Extracting [==>   ]  65.54kB/3MB", 3_000_000),
        ("Extracting 1 s", 3_000_000),
        ("Pull complete", 3_000_000),
    ],
)
def test_bytes_of_a_layer(words, expected):
    assert told(layers(BEGIN, drawn(ONE, words))) == (expected, 4_000_000, False)


def test_without_sizes_the_total_is_known_once_all_layers_come():
    begun = layers(BEGIN, drawn(ONE, "Downloading  1MB/3MB"), sizes={})
    assert told(begun) == (1_000_000, None, False)
    begun.read(drawn(TWO, "Downloading  1MB/1MB"))
    assert told(begun) == (2_000_000, 4_000_000, False)


def test_it_unpacks_once_all_has_come():
    words = [BEGIN, drawn(ONE, "Pull complete"), drawn(TWO, "Downloading  1kB/1MB")]
    assert told(layers(*words)) == (3_001_000, 4_000_000, False)
    assert told(layers(*words, drawn(TWO, "Verifying Checksum"))) == (4_000_000, 4_000_000, True)
    assert told(layers(*words, drawn(TWO, "Pull complete"))) == (4_000_000, 4_000_000, False)


def test_other_words_are_no_layers():
    words = "Digest: sha256:0123\r\nStatus: Downloaded newer image for x\r\n0123456789ab is no layer\r\n"
    assert told(layers(words)) == told(layers())


LINES = [BEGIN, *(drawn(layer, f"Downloading  {kilobytes}kB/1MB") for layer in SIZES for kilobytes in (1, 100.5, 999))]


@given(st.lists(st.sampled_from([*LINES, drawn(ONE, "Pull complete")])), st.integers(1, 50))
def test_it_does_not_matter_where_the_words_are_cut(lines, length):
    text = "".join(lines)
    whole, cut = layers(text), layers(*(text[start : start + length] for start in range(0, len(text), length)))
    assert told(whole) == told(cut)
    assert whole.bytes <= whole.total


@given(st.text(), st.sampled_from([SIZES, {}]))
def test_no_text_is_too_much(text, sizes):
    found = layers(text + "\n", f"{ONE}: {text}\n", sizes=sizes)
    assert found.bytes <= sum(SIZES.values()) or not sizes
    assert found.total is None or found.total >= 0


SCRIPT = """
import os, sys
print("tty", os.isatty(1), os.get_terminal_size(1).columns if os.isatty(1) else None, flush=True)
sys.stderr.write("wrong")
sys.exit(3)
"""


def test_a_command_sees_a_terminal_and_its_errors_stand_apart():
    heard = []
    assert _pull.watched([sys.executable, "-c", SCRIPT], heard.append) == (3, "wrong")
    assert "".join(heard) == "tty True 80\r\n"


def test_where_there_is_no_terminal_it_runs_unheard(monkeypatch):
    def refuse():
        raise OSError("out of pty devices")

    monkeypatch.setattr(os, "openpty", refuse)
    heard = []
    assert _pull.watched([sys.executable, "-c", SCRIPT], heard.append) == (3, "wrong")
    assert heard == []
