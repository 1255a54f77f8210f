# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A disk that does not take what is to be written to it."""

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _disk


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EROFS, "disk_read_only"),
        (errno.EIO, "disk_broken"),
    ],
)
def test_what_a_disk_refuses_with_is_told(number, code):
    problem = _disk.problem(OSError(number, os.strerror(number), "/var/lib/nim/weights/x"))
    assert problem.code == code
    assert "/var/lib/nim/weights/x" in problem.evidence
    assert problem.remedy


def test_what_is_not_about_the_disk_goes_on():
    with pytest.raises(IsADirectoryError):
        _disk.problem(IsADirectoryError(errno.EISDIR, "Is a directory"))
