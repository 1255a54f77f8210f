# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Signatures, with a stand-in for cosign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _image_signature, _registry_login
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

PINNED = "nvcr.io/nim/a@sha256:" + "a" * 64
LOGIN = ("nvcr.io", "$oauthtoken", "nvapi-0123456789")


@pytest.fixture
def cosign(tmp_path, monkeypatch):
    """C(run_command) with a cosign that accepts key.pub; what it was called with is in calls."""
    monkeypatch.setattr(_registry_login, "PLACE", str(tmp_path))

    def run(argv, environ_update):
        registries = json.loads(Path(environ_update["DOCKER_CONFIG"], "config.json").read_text())["auths"]
        run.calls.append((argv, list(registries)))
        good = argv[argv.index("--key") + 1] == "key.pub"
        return (0, "[]", "") if good else (1, "", "Error: no matching signatures, nvapi-0123456789abcdef")

    run.calls = []
    return run


def test_a_signed_image_passes(cosign):
    _image_signature.check(cosign, "/bin/cosign", PINNED, "key.pub", LOGIN)
    assert cosign.calls == [(["/bin/cosign", "verify", "--key", "key.pub", PINNED], ["nvcr.io"])]


def test_one_that_is_not_signed_by_the_key_is_refused(cosign):
    with pytest.raises(Problem) as refused:
        _image_signature.check(cosign, "/bin/cosign", PINNED, "other.pub", LOGIN)
    assert refused.value.code == "image_unsigned"
    assert "no matching signatures" in refused.value.evidence
    assert "nvapi-0" not in refused.value.evidence


def test_without_cosign_nothing_counts_as_checked(cosign):
    with pytest.raises(Problem) as refused:
        _image_signature.check(cosign, None, PINNED, "key.pub", LOGIN)
    assert refused.value.code == "cosign_missing"
    assert cosign.calls == []
