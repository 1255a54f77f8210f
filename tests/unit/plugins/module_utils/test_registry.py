# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import base64
import socket

import pytest
import registry_server

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._registry import Reference, Registry

LABELS = {"com.nvidia.nim.version": "1.8.4"}


@pytest.fixture(params=["basic", "bearer"])
def registry(request, tmp_path, monkeypatch):
    with registry_server.RegistryServer(tmp_path, request.param, LABELS) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "registry.crt"))
        yield server


def ask(server, image, key=registry_server.KEY):
    return Registry(server.host, "$oauthtoken", key, timeout=10).resolve(Reference(f"{server.host}/{image}"))


@pytest.mark.parametrize(
    ("text", "registry_host", "repository", "tag", "digest"),
    [
        ("nvcr.io/nim/meta/llama:1.8.4", "nvcr.io", "nim/meta/llama", "1.8.4", None),
        ("127.0.0.1:5000/nim/x:1", "127.0.0.1:5000", "nim/x", "1", None),
        ("nvcr.io/nim/x@sha256:" + "a" * 64, "nvcr.io", "nim/x", None, "sha256:" + "a" * 64),
        ("nvcr.io/nim/x:1@sha256:" + "a" * 64, "nvcr.io", "nim/x", "1", "sha256:" + "a" * 64),
    ],
)
def test_a_reference_is_taken_apart(text, registry_host, repository, tag, digest):
    reference = Reference(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == (
        registry_host,
        repository,
        tag,
        digest,
    )


@pytest.mark.parametrize("text", ["", "llama", "nvcr.io/nim/x", "nvcr.io/nim/x:", "nvcr.io/nim/x@sha256:12", "a b/c:1"])
def test_half_a_reference_is_refused(text):
    with pytest.raises(Problem, match="whole image reference"):
        Reference(text)


def test_a_tag_is_resolved_to_digest_size_labels_and_environment(registry):
    found = ask(registry, "nim/meta/llama:1.8.4")
    assert found["digest"] == registry.manifest_digest
    assert found["pinned"] == f"{registry.host}/nim/meta/llama@{registry.manifest_digest}"
    assert found["bytes"] == 1000
    assert found["layers"] == {"1" * 12: 700, "2" * 12: 300}
    assert found["labels"] == LABELS
    assert found["env"] == {"A": "b=c"}


def test_an_index_is_pinned_as_such_and_read_for_this_architecture(registry):
    found = ask(registry, "nim/meta/llama:index")
    assert found["digest"] == registry.index_digest
    assert found["labels"] == LABELS


def test_a_digest_is_kept(registry):
    assert ask(registry, f"nim/meta/llama@{registry.manifest_digest}")["digest"] == registry.manifest_digest


@pytest.mark.parametrize(
    ("image", "key", "code"),
    [
        ("nim/meta/llama:1.8.4", "nvapi-bad", "ngc_key_refused"),
        ("nim/meta/llama:1.8.4", None, "ngc_key_missing"),
        ("nim/meta/llama:9", registry_server.KEY, "image_unknown"),
        ("nim/meta/lama:1.8.4", registry_server.KEY, "image_unknown"),
        ("nim/meta/entitled:1", registry_server.KEY, "image_denied"),
        ("nim/meta/sick:1", registry_server.KEY, "registry_unreachable"),
        ("nim/meta/llama:alien", registry_server.KEY, "image_architecture"),
    ],
)
def test_each_refusal_has_its_own_cause(registry, image, key, code):
    with pytest.raises(Problem) as caught:
        ask(registry, image, key)
    assert caught.value.code == code
    assert caught.value.remedy
    assert "nvapi" not in str(caught.value)


def test_a_registry_that_is_down_is_not_taken_for_a_missing_image():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Problem, match="cannot be reached") as caught:
            Registry(host, "u", "p", timeout=5).resolve(Reference(f"{host}/nim/x:1"))
    assert caught.value.code == "registry_unreachable"


def test_without_a_need_for_a_login_none_is_sent(tmp_path, monkeypatch):
    with registry_server.RegistryServer(tmp_path, None, LABELS) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "registry.crt"))
        ask(server, "nim/meta/llama:1.8.4")
    assert {login for _path, login in server.seen} == {""}


def test_the_key_goes_to_the_login_only(registry):
    ask(registry, "nim/meta/llama:1.8.4")
    encoded = base64.b64encode(f"$oauthtoken:{registry_server.KEY}".encode()).decode()
    holders = [path.partition("?")[0] for path, login in registry.seen if encoded in login]
    if registry.scheme == "bearer":
        assert holders == ["/token"]
    assert all(registry_server.KEY not in path for path, _login in registry.seen)


def test_a_certificate_that_is_not_trusted_is_told_from_a_registry_that_is_down(registry, tmp_path, monkeypatch):
    nothing = tmp_path / "nothing.crt"
    nothing.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(nothing))
    with pytest.raises(Problem, match="certificate of the registry .* is not trusted") as caught:
        ask(registry, "nim/meta/llama:1.8.4")
    assert caught.value.code == "registry_tls"
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.evidence
