# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The swarm and its feed, among addresses of this machine that play hosts."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import time

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _swarm, _swarm_feed
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

libtorrent = pytest.importorskip("libtorrent")

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
SECRET = "a secret of the run"


@pytest.fixture
def port():
    """A port that is free, as the one above it is, on the addresses."""
    while True:
        with socket.socket() as probe, socket.socket() as above:
            probe.bind((A, 0))
            number = probe.getsockname()[1]
            try:
                above.bind((A, number + 1))
            except OSError:
                continue
            return number


def await_(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def put(directory, content):
    directory.mkdir(exist_ok=True)
    path = directory / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return path


def take(swarm, torrent, directory, path):
    directory.mkdir(exist_ok=True)
    swarm.take(torrent, str(directory), path.name, path.stat().st_size)
    return lambda: swarm.look()[path.name].complete


def test_a_file_reaches_those_who_take_it_from_each_other(port, tmp_path):
    path = put(tmp_path / "a", os.urandom(3_000_000))
    seed, first = _swarm.Swarm(A, port, [A, B], SECRET), _swarm.Swarm(B, port, [A, B, C], SECRET)
    torrent = seed.offer(str(path))
    await_(take(first, torrent, tmp_path / "b", path))
    second = _swarm.Swarm(C, port, [B, C], SECRET)  # which the seed does not know
    await_(take(second, torrent, tmp_path / "c", path))
    assert (tmp_path / "c" / path.name).read_bytes() == path.read_bytes()
    assert first.traffic()[1] >= 3_000_000


def test_an_address_that_is_not_of_the_fleet_gets_nothing(port, tmp_path):
    path = put(tmp_path / "a", os.urandom(500_000))
    seed, stranger = _swarm.Swarm(A, port, [A, B], SECRET), _swarm.Swarm(C, port, [A, C], SECRET)
    friend = _swarm.Swarm(B, port, [A, B], SECRET)
    torrent = seed.offer(str(path))
    arrived = take(stranger, torrent, tmp_path / "c", path)
    await_(take(friend, torrent, tmp_path / "b", path))  # later than the stranger, and done
    assert not arrived()
    assert stranger.traffic()[0] == 0


def test_who_does_not_know_the_secret_gets_nothing_though_it_has_the_right_address(port, tmp_path):
    content = os.urandom(500_000)
    path, same = put(tmp_path / "a", content), put(tmp_path / "other", content)
    seed = _swarm.Swarm(A, port, [A, B, C], SECRET)
    torrent = seed.offer(str(path))
    guess = _swarm.Swarm(C, port + 2, [C], "another secret").offer(str(same))
    assert (
        libtorrent.torrent_info(libtorrent.bdecode(guess)).info_hash()
        != libtorrent.torrent_info(libtorrent.bdecode(torrent)).info_hash()
    )
    stranger, friend = _swarm.Swarm(B, port, [A, B], SECRET), _swarm.Swarm(C, port, [A, C], SECRET)
    arrived = take(stranger, guess, tmp_path / "b", path)
    await_(take(friend, torrent, tmp_path / "c", path))
    assert not arrived()
    assert stranger.traffic()[0] == 0


def test_an_altered_piece_is_not_given_away(port, tmp_path):
    path = put(tmp_path / "a", os.urandom(2_000_000))
    seed, receiver = _swarm.Swarm(A, port, [A, B], SECRET), _swarm.Swarm(B, port, [A, B], SECRET)
    torrent = seed.offer(str(path))
    with path.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"altered")
    arrived = take(receiver, torrent, tmp_path / "b", path)
    await_(lambda: seed.look()[path.name].wrong)
    assert not arrived()


def test_what_has_come_before_is_not_sent_again(port, tmp_path):
    content = os.urandom(4 * 262_144)
    path = put(tmp_path / "a", content)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / path.name).write_bytes(content[: 3 * 262_144])
    seed, receiver = _swarm.Swarm(A, port, [A, B], SECRET), _swarm.Swarm(B, port, [A, B], SECRET)
    await_(take(receiver, seed.offer(str(path)), tmp_path / "b", path))
    assert 262_144 <= receiver.traffic()[0] < 2 * 262_144


def test_a_torrent_of_something_else_is_refused(port, tmp_path):
    path, other = put(tmp_path / "a", b"one" * 1000), put(tmp_path / "a", b"other" * 1000)
    seed, receiver = _swarm.Swarm(A, port, [A, B], SECRET), _swarm.Swarm(B, port, [A, B], SECRET)
    torrent = seed.offer(str(other))
    for bad in (torrent, b"no torrent", b""):
        with pytest.raises(Problem) as raised:
            receiver.take(bad, str(tmp_path), path.name, 3000)
        assert raised.value.code == "torrent_invalid"


def test_a_port_that_is_taken_is_told(port):
    first = _swarm.Swarm(A, port, [A], SECRET)
    for where in ((A, port), ("192.0.2.1", port)):  # the other is an address of nobody
        with pytest.raises(Problem) as raised:
            _swarm.Swarm(*where, [A], SECRET)
        assert raised.value.code == "cannot_listen"
    del first


def feed(port, peers=(B, "127.0.0.1")):
    return _swarm_feed.Feed(A, port, list(peers), SECRET)


def test_the_feed_tells_what_is_new(port):
    served, reader = feed(port), _swarm_feed.Reader(A, port, SECRET, B)
    await_(lambda: reader.latest)
    assert reader.latest["manifest"] is None
    served.tell({"files": []}, False, {"f" * 64: b"torrent"})
    await_(lambda: reader.latest["names"])
    assert reader.latest["manifest"] == {"files": []}
    assert not reader.latest["whole"]
    assert reader.torrent("f" * 64) == b"torrent"
    assert reader.torrent("0" * 64) is None
    assert reader.silence < 30


@pytest.mark.parametrize("given", ["", "Bearer wrong", f"Basic {SECRET}"])
def test_the_feed_has_nothing_for_who_does_not_know_the_secret(port, given):
    feed(port).tell({"files": []}, True, {"f" * 64: b"torrent"})
    connection = http.client.HTTPConnection(A, port)
    connection.request("GET", "/torrents/" + "f" * 64, headers={"Authorization": given})
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (404, b"")


def test_the_feed_has_no_word_for_a_stranger(port):
    feed(port, [B]).tell({"files": []}, True, {"f" * 64: b"torrent"})
    assert _swarm_feed.Reader(A, port, SECRET, C).torrent("f" * 64) is None
    assert _swarm_feed.Reader(A, port, SECRET, B).torrent("f" * 64) == b"torrent"


def test_a_seed_that_is_not_there_is_silent(port):
    reader = _swarm_feed.Reader(A, port, SECRET, B)
    assert reader.torrent("f" * 64) is None
    assert reader.silence is None
