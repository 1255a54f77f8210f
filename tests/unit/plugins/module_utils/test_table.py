# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _table


def test_columns_are_as_wide_as_what_stands_in_them():
    assert _table.table(("A", "BE"), [["one", "1"], ["", "22"]]) == "A    BE\none  1\n     22"


def test_the_last_columns_give_way_and_go_on_below():
    shown = _table.table(("HOST", "IMAGE"), [["gpu1", "llama-3.2-1b-instruct:1.8.4"], ["gpu2", "short"]], 22)
    assert shown.splitlines() == ["HOST  IMAGE", "gpu1  llama-3.2-1b-", "      instruct:1.8.4", "gpu2  short"]


def test_wide_characters_take_two_columns():
    assert _table.table(("A", "B"), [["首都", "1"], ["abcd", "2"]]) == "A     B\n首都  1\nabcd  2"
    assert _table.wrapped("首都首都", 5) == ["首都", "首都"]


@given(st.text(), st.integers(2, 20))
def test_what_is_wrapped_fits_and_nothing_of_it_is_lost(text, width):
    lines = _table.wrapped(text, width)
    assert all(_table._columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
