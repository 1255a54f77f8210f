# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _readable

ME = os.getuid()
OTHER, GROUP = 54321, 54322


@pytest.mark.parametrize(
    ("user", "expected"),
    [("1000:0", (1000, 0)), ("1000", (1000, 0)), (None, (0, 0)), ("", (0, 0)), ("nim", None), ("1000:nim", None)],
)
def test_ids(user, expected):
    assert _readable.ids(user) == expected


@pytest.fixture
def cache(tmp_path):
    """A directory as a deploy leaves it, but for others: it is this user's."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_text("a")
    (tmp_path / "link").symlink_to("blobs/a")
    (tmp_path / "dangling").symlink_to("/opt/nim/elsewhere")
    for path, mode in (("", 0o777), ("blobs", 0o777), ("blobs/a", 0o644)):
        (tmp_path / path).chmod(mode)
    return tmp_path


def test_what_all_may_read_and_write(cache):
    assert _readable.denied(str(cache), OTHER, GROUP, True) == []


def test_a_directory_that_may_not_be_written_to(cache):
    (cache / "blobs").chmod(0o755)
    assert _readable.denied(str(cache), OTHER, GROUP, True) == [f"may not write to {cache / 'blobs'}"]
    assert _readable.denied(str(cache), OTHER, GROUP, False) == []
    assert _readable.denied(str(cache), 0, 0, True) == []


def test_what_belongs_to_another(cache):
    (cache / "blobs" / "a").chmod(0o600)
    refused = _readable.denied(str(cache), OTHER, GROUP, True)
    assert set(refused) == {f"may not read {cache / 'blobs' / 'a'}", f"may not read {cache / 'link'}"}
    assert _readable.denied(str(cache), ME, GROUP, True) == []
    (cache / "blobs").chmod(0o700)
    refused = _readable.denied(str(cache), OTHER, GROUP, False)
    assert set(refused) == {f"may not open {cache / 'blobs'}", f"may not read {cache / 'link'}"}


def test_the_group_counts_where_it_is_the_file_s(cache):
    (cache / "blobs").chmod(0o070)
    assert _readable.denied(str(cache), OTHER, os.getgid(), True) == []
    assert _readable.denied(str(cache), OTHER, GROUP, True) != []


def test_no_directory(tmp_path):
    none = str(tmp_path / "none")
    assert _readable.denied(none, OTHER, GROUP, False) == [f"there is no directory {none}"]
