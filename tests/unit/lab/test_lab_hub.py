# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's hub and its proxy, over TLS, asked by what asks the real one."""

from __future__ import annotations

import importlib
import io
import queue
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_remote, _memory
from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS
from ansible_collections.llmops.nim.plugins.module_utils._selection import Selection

LAB = Path(__file__).resolve().parents[3] / "lab"

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(LAB / "images" / "hub"))
        yield importlib.import_module("hub"), importlib.import_module("proxy"), importlib.import_module("seed")


@pytest.fixture(scope="module")
def site(modules, tmp_path_factory):
    """The address of the hub, with all of the lab's repositories; its certificate is ca.crt in the folder beside."""
    hub, _proxy, seed = modules
    folder = tmp_path_factory.mktemp("hub")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", "key", "-out", "ca.crt"], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    hub.ROOT = folder / "root"
    seed.seed(LAB / "weights", hub.ROOT)
    server = hub.Server(("127.0.0.1", 0), hub.Handler, context)
    hub.SITE = f"https://localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield hub.SITE, folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def read(modules, site, monkeypatch):
    """Read a repository of the lab at main, as the module does."""
    hub, (address, folder) = modules[0], site
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.crt"))

    def call(name, token=None):
        return _checkpoint_remote.read(address, f"lab/{name}", commit(hub, name), token, Selection())

    return call


def commit(hub, name):
    head = ["git", "-C", str(hub.ROOT / "lab" / (name + ".git")), "rev-parse", "main"]
    return subprocess.run(head, stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def codes(found):
    return [problem["code"] for problem in found["problems"]]


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("Llama-3.2-1B-capitals", []),
        ("too-big", []),
        ("broken-no-config", ["no_config"]),
        ("broken-pointer", ["pointer_instead_of_file"]),
        ("broken-object", []),  # only its bytes would tell
        ("broken-shard", ["shard_missing"]),
        ("broken-header", ["safetensors_header"]),
    ],
)
def test_what_is_told_of_the_repositories(read, name, problems):
    found = read(name)
    assert found["read"] is True
    assert codes(found) == problems


def test_the_model_that_is_too_big_is_told_with_its_arithmetic(read):
    gpu = {"index": 0, "name": "NVIDIA RTX 6000 Ada Generation", "memory_total_mib": 49140}
    (problem,), _warnings = _memory.judge("big", read("too-big"), [gpu], 0.9, CONTRACTS["1.3"].overhead)
    assert problem.code == "memory_too_small"
    assert "70.55 billion" in problem.evidence


def test_from_https_to_http_is_no_way(modules, site, read, monkeypatch):
    monkeypatch.setattr(modules[0], "SITE", site[0].replace("https:", "http:"))
    found = read("too-big")
    assert (found["read"], [warning["code"] for warning in found["warnings"]]) == (False, ["checkpoint_unread"])
    assert "which is no https address" in found["warnings"][0]["evidence"]
    assert "signature" not in found["warnings"][0]["evidence"]


def test_gated_repositories(read):
    name = "Llama-3.2-1B-capitals-chat"
    assert read(name, "hf_lab_reader")["has_chat_template"] is True
    assert codes(read(name)) == ["repo_unknown_or_gated"]
    assert codes(read(name, "hf_lab_outsider")) == ["no_access"]
    assert codes(read(name, "hf_lab_typo")) == ["token_invalid"]


def test_addresses_that_lead_nowhere(modules, site, read):
    address, folder = site
    one = commit(modules[0], "too-big")
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    for path, status in (
        (f"/lab/too-big/resolve/{one}/config.json", 200),
        (f"/lab/too-big/resolve/{one}/none", 404),
        (f"/lab/too-big/resolve/{'0' * 40}/config.json", 404),
        (f"/api/models/lab/too-big/tree/{one}", 200),
        (f"/api/models/lab/none/tree/{one}", 401),
        ("/api/models/lab/too-big", 404),
    ):
        assert status_of(address + path, context) == status, path


def test_faults_of_downloads(modules, site, monkeypatch):
    hub, folder, said = modules[0], site[1], queue.Queue()
    # Not by capfd, which loses what a thread says while it is asked.
    monkeypatch.setattr(hub, "print", lambda *words, **_options: said.put(words), raising=False)
    name, context = "lab/Llama-3.2-1B-capitals", ssl.create_default_context(cafile=folder / "ca.crt")
    monkeypatch.setattr(hub, "FAULTS", folder / "faults.json")
    shard = next((hub.ROOT / f"{name}.git" / "lfs").iterdir())
    hub.FAULTS.write_text('{"signed_for": 0}')
    assert status_of(hub.signed(name, shard.name), context) == 403
    hub.FAULTS.write_text('{"hold_after": 1000}')
    with urllib.request.urlopen(hub.signed(name, shard.name), context=context) as reply:
        assert reply.read(1000) == shard.read_bytes()[:1000]
        hub.FAULTS.unlink()
        assert reply.read() == shard.read_bytes()[1000:]
    hub.FAULTS.write_text('{"hold_after": 1000}')
    with urllib.request.urlopen(hub.signed(name, shard.name), context=context) as reply:
        assert reply.read(1000) == shard.read_bytes()[:1000]
    while said.get(timeout=60) != ("GET", f"/lfs/{name}/{shard.name}", 200, 1000):  # who went away has got no more
        pass
    hub.FAULTS.unlink()


def status_of(url, context):
    try:
        with urllib.request.urlopen(url, context=context) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_through_the_proxy(modules, site, read, monkeypatch, capfd):
    proxy, address = modules[1], site[0]
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.start(0)}")
    refused = read("too-big")
    assert (refused["read"], [warning["code"] for warning in refused["warnings"]]) == (False, ["checkpoint_unread"])
    assert "403" in refused["warnings"][0]["evidence"]
    monkeypatch.setattr(proxy, "ALLOWED", {address[len("https://") :]})
    assert read("too-big")["read"] is True
    assert f"proxy CONNECT {address[len('https://') :]} 200" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"CONNECT hub.lab:22 HTTP/1.1", b"403"),
        (b"CONNECT evil.example:443 HTTP/1.1", b"403"),
        (b"GET http://hub.lab/ HTTP/1.1", b"403"),
        (b"CONNECT closed.invalid:443 HTTP/1.1", b"502"),
        (b"nonsense", b""),
    ],
)
def test_the_proxy_leads_to_registry_and_hub_alone(modules, monkeypatch, request_line, answer):
    proxy = modules[1]
    assert sorted(proxy.ALLOWED) == ["hub.lab:443", "nvcr.lab:443"]
    if answer == b"502":
        monkeypatch.setattr(proxy, "ALLOWED", {"closed.invalid:443"})
    with socket.create_connection(("127.0.0.1", proxy.start(0)), timeout=20) as connection:
        connection.sendall(request_line + b"\r\n\r\n")
        assert connection.recv(100).partition(b" ")[2].startswith(answer)


def test_weights_of_one_s_own_become_a_repository_that_can_be_replaced(modules, tmp_path, monkeypatch):
    seed = modules[2]
    for answer in (b"one", b"two"):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in {"config.json": b"{}", "model.safetensors": answer}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        archive.seek(0)
        monkeypatch.setattr(seed.sys, "stdin", io.TextIOWrapper(archive))
        seed.main("own", tmp_path)
        shown = ["git", "-C", tmp_path / "lab/own.git", "show", "main:model.safetensors"]
        pointer = subprocess.run(shown, capture_output=True, check=True).stdout
        assert pointer == seed.pointer(answer)[0]
        assert (tmp_path / "lab/own.git/lfs" / seed.pointer(answer)[1]).read_bytes() == answer
