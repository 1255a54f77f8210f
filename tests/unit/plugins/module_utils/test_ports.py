# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _ports

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100 0 0 10 0
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0
   2: 0100007F:1F40 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 51 1
   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 52 1
   2: 0000000000000000FFFF00000100007F:1F42 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 53 1
"""
CONTAINER = {"id": "ab" * 32, "name": "web", "running": True, "model": None, "published": []}


@pytest.mark.skipif(sys.byteorder != "little", reason="the text is of a little-endian host")
def test_listeners_of_a_host():
    assert _ports.parse_listeners(TCP) == [("0.0.0.0", 8000, "41"), ("127.0.0.1", 8001, "42")]
    assert _ports.parse_listeners(TCP6) == [("::", 8000, "51"), ("::1", 22, "52"), ("127.0.0.1", 8002, "53")]
    assert _ports.parse_listeners("") == []


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("", []),
        ("8001/tcp", []),
        ("0.0.0.0:8000->8000/tcp", [("0.0.0.0", 8000)]),
        ("0.0.0.0:8000->8000/tcp, :::8000->8000/tcp", [("0.0.0.0", 8000), ("::", 8000)]),
        ("0.0.0.0:8000->8000/tcp, [::]:8000->8000/tcp, 8001/tcp", [("0.0.0.0", 8000), ("::", 8000)]),
        ("[fe80::1]:80->8000/tcp", [("fe80::1", 80)]),
        ("127.0.0.1:9000-9001->7000-7001/tcp", [("127.0.0.1", 9000), ("127.0.0.1", 9001)]),
        ("0.0.0.0:53->53/udp, 0.0.0.0:54->53/tcp", [("0.0.0.0", 54)]),
    ],
)
def test_what_docker_ps_writes_of_ports(text, published):
    assert _ports.parse_published(text) == published


@given(
    st.lists(
        st.tuples(
            st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
            st.integers(1, 65535),
            st.integers(1, 65535),
            st.sampled_from(["tcp", "udp", "sctp"]),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_published_ports_are_read_back(entries):
    words, wanted = [], []
    for address, host, inner, protocol, brackets in entries:
        shown = f"[{address}]" if address.version == 6 and brackets else str(address)
        words.append(f"{shown}:{host}->{inner}/{protocol}")
        if protocol == "tcp":
            wanted.append((str(address), host))
    assert _ports.parse_published(", ".join(words)) == wanted


@given(st.text())
def test_any_text_is_read(text):
    assert isinstance(_ports.parse_published(text), list)


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("10.0.0.1", "::", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "127.0.0.1", False),
    ],
)
def test_overlap(one, other, overlaps):
    assert _ports.overlap(one, other) is _ports.overlap(other, one) is overlaps


def listening():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    return server, server.getsockname()[1]


def test_a_real_listener_is_named():
    server, port = listening()
    with server:
        (holder,) = _ports.holders([port], [])[port]
    assert holder == {
        "address": "127.0.0.1",
        "process": pathlib.Path("/proc/self/comm").read_text(encoding="utf-8").strip(),
        "pid": os.getpid(),
        "container": None,
        "model": None,
        "leftover": False,
    }


def test_a_free_port_has_no_holder():
    server, port = listening()
    server.close()
    assert _ports.holders([port], []) == {port: []}


@pytest.fixture
def proxy(tmp_path):
    """A real process named docker-proxy that listens; its port."""
    script = tmp_path / "docker-proxy"
    script.write_text(
        f"#!{sys.executable}\n"
        "import socket, sys\n"
        "server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen(1)\n"
        "print(server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    script.chmod(0o755)
    process = subprocess.Popen([str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii")
    yield process.pid, int(process.stdout.readline())
    process.communicate("")


def test_a_docker_proxy_without_a_container_is_a_leftover(proxy):
    pid, port = proxy
    stopped = dict(CONTAINER, running=False, published=[("0.0.0.0", port)])
    (holder,) = _ports.holders([port], [stopped])[port]
    assert (holder["process"], holder["pid"], holder["leftover"]) == ("docker-proxy", pid, True)


def test_a_docker_proxy_of_a_running_container_is_none(proxy):
    dummy, port = proxy
    web = dict(CONTAINER, published=[("0.0.0.0", port), ("::", port)], model="a")
    (holder,) = _ports.holders([port], [web])[port]
    assert (holder["container"], holder["model"], holder["leftover"]) == ("web", "a", False)


def test_without_docker_nothing_is_called_a_leftover(proxy):
    dummy, port = proxy
    (holder,) = _ports.holders([port], None)[port]
    assert not holder["leftover"]


def test_a_published_port_without_a_listener_is_held():
    server, port = listening()
    server.close()
    web = dict(CONTAINER, published=[("0.0.0.0", port)])
    (holder,) = _ports.holders([port], [web])[port]
    assert (holder["container"], holder["process"], holder["address"]) == ("web", None, "0.0.0.0")


def fake_proc(root, cgroup="", readable=True, comm="python3"):
    (root / "net").mkdir()
    (root / "net" / "tcp").write_text(TCP)
    process = root / "123"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text(comm + "\n")
    (process / "cgroup").write_text(cgroup)
    (process / "cmdline").write_text("python3\0serve\0")
    if readable:
        os.symlink("socket:[41]", process / "fd" / "3")
    os.symlink("/dev/null", process / "fd" / "0")
    return str(root)


@pytest.mark.skipif(sys.byteorder != "little", reason="the text is of a little-endian host")
class TestByProc:
    def test_a_process_in_a_container_on_the_host_network(self, tmp_path):
        proc = fake_proc(tmp_path, "0::/system.slice/docker-" + "ab" * 32 + ".scope\n")
        (holder,) = _ports.holders([8000], [CONTAINER], proc)[8000]
        assert (holder["process"], holder["pid"], holder["container"]) == ("python3", 123, "web")

    def test_a_cgroup_of_an_outer_container_is_not_one_of_ours(self, tmp_path):
        proc = fake_proc(tmp_path, "0::/docker/" + "cd" * 32 + "\n")
        (holder,) = _ports.holders([8000], [CONTAINER], proc)[8000]
        assert holder["container"] is None

    def test_a_process_of_its_own_is_not_taken_for_a_container(self, tmp_path):
        web = dict(CONTAINER, published=[("127.0.0.2", 8000)])
        (first, second) = _ports.holders([8000], [web], fake_proc(tmp_path))[8000]
        assert (first["process"], first["container"]) == ("python3", None)
        assert (second["address"], second["container"]) == ("127.0.0.2", "web")

    def test_a_process_that_only_root_sees(self, tmp_path):
        (holder,) = _ports.holders([8000], [], fake_proc(tmp_path, readable=False))[8000]
        assert (holder["address"], holder["process"], holder["pid"]) == ("0.0.0.0", None, None)

    def test_dockerd_itself_holds_the_port_of_a_container(self, tmp_path):
        web = dict(CONTAINER, published=[("0.0.0.0", 8000)])
        (holder,) = _ports.holders([8000], [web], fake_proc(tmp_path, comm="dockerd"))[8000]
        assert (holder["process"], holder["container"]) == ("dockerd", "web")
