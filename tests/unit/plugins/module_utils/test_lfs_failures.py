# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a fetch of git-lfs says when it fails."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _lfs_failures

OID = "0" * 63 + "1"
HUB = ("https://h", "lab/x", "a" * 40)


def test_a_git_lfs_that_was_killed_is_the_host_s_own_matter():
    problem = _lfs_failures.explain("error: git-lfs died of signal 9", {}, *HUB)
    assert problem.code == "killed"


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        (f"LFS: expected OID {OID}, got {'2' * 64} after 5 bytes written", "object_corrupt", "model.safetensors"),
        (f"[{OID}] Object does not exist: [404] Object does not exist", "object_missing", "model.safetensors"),
        ("write /w/incomplete/x: no space left on device", "disk_full", "Free space"),
        (
            "LFS: Authorization error: https://cdn/o?X-Sig=1\nCheck that you have proper access",
            "storage_refused",
            "cdn",
        ),
        ("LFS: Authorization error: https://h/lfs/o?X-Sig=1\nCheck", "storage_refused", "h"),
        (
            "batch response: Authorization error: https://h/lab/x.git/info/lfs/objects/batch\nCheck",
            "no_access",
            "lab/x",
        ),
        ("fatal: could not read Username for 'https://cdn': terminal prompts disabled", "storage_login", "cdn"),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "repo_unknown_or_gated", "lab/x"),
        ("LFS: unexpected EOF", "hub_unreachable", "https://h"),
    ],
)
def test_explain(said, code, word):
    problem = _lfs_failures.explain(said, {OID: "model.safetensors"}, *HUB)
    assert problem.code == code
    assert word in str(problem)
    assert "X-Sig" not in str(problem)
