# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""weights_swarm as processes on addresses of this machine that play hosts, from a published snapshot to a parcel."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _files, _lfs, _selection, _snapshot, _swarm_place
from ansible_collections.llmops.nim.plugins.modules import weights_import, weights_swarm

pytest.importorskip("libtorrent")

A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
REPO, COMMIT = "lab/model", "5" * 40
SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]


class Host:
    """An address with a directory of weights, and the parts that run on it."""

    def __init__(self, root, address, run):
        self.address, self.root, self.run = address, root / address, run
        self.spot = _snapshot.place(str(self.root), REPO, COMMIT)
        self.root.mkdir()

    def module(self, module, **options):
        wanted = {"repo": REPO, "commit": COMMIT, "weights_dir": str(self.root), "reserve_bytes": 0, **options}
        arguments = self.root / f"arguments-{len(list(self.root.iterdir()))}.json"
        arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": wanted}))
        path = os.pathsep.join(place for place in sys.path if place)
        return subprocess.Popen(
            [sys.executable, "-m", module.__name__, str(arguments)],
            env=dict(os.environ, PYTHONPATH=path),
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, seed=A, **options):
        wanted = {"address": self.address, "peers": [A, B, C], "seed": seed, **self.run, **options}
        assert result(self.module(weights_swarm, state="started", **wanted))["changed"]

    def part(self):
        """The id of the process that plays the part, or None."""
        lock = _swarm_place.place(str(self.root), REPO, COMMIT).lock
        return int(Path(lock).read_text()) if _files.is_held(lock) else None

    def await_end(self):
        while self.part():
            time.sleep(0.05)

    def ask(self, state, module=weights_swarm, **options):
        more = {"secret": self.run["secret"], "patience": self.run["patience"]} if state == "received" else {}
        more = {"state": state, **more} if state else more
        return result(self.module(module, **more, **options))

    def listens(self):
        port = self.run["port"]
        with socket.socket() as one, socket.socket() as other:
            return [one.connect_ex((self.address, port)), other.connect_ex((self.address, port + 1))].count(0)


def result(process):
    output = process.communicate(timeout=120)[0]
    return json.loads(output[output.index("{") :])


def snapshot():
    """path -> content (bytes) of a model."""
    index = {"weight_map": dict(zip("ab", SHARDS))}
    contents = {}
    for tensor, name in zip("ab", SHARDS):
        room = 1_000_000
        header = json.dumps({tensor: {"dtype": "U8", "shape": [room], "data_offsets": [0, room]}}).encode().ljust(192)
        contents[name] = len(header).to_bytes(8, "little") + header + os.urandom(room)
    config = {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "max_position_embeddings": 2048}
    texts = {"config.json": config, "tokenizer.json": {}, "model.safetensors.index.json": index}
    contents.update((name, json.dumps(content).encode()) for name, content in texts.items())
    return {**contents, "merges.txt": b""}


def write_parcel(directory, contents):
    (directory / "files").mkdir(parents=True)
    files = []
    for path, content in contents.items():
        sha256 = hashlib.sha256(content).hexdigest()
        (directory / "files" / sha256).write_bytes(content)
        files.append({"path": path, "size": len(content), "sha256": sha256, "lfs": path in SHARDS})
    document = _snapshot.manifest(REPO, COMMIT, _selection.Selection().as_dict(), files)
    _snapshot.judge(document, {}, [])
    _snapshot.write_manifest(str(directory / "manifest.json"), document)
    return document


@pytest.fixture
def hosts(tmp_path):
    with socket.socket() as probe:
        probe.bind((A, 0))
        port = probe.getsockname()[1]
    run = {"port": port - port % 2, "secret": "of the run", "patience": 20}
    found = [Host(tmp_path, address, run) for address in (A, B, C)]
    yield found
    for part in filter(None, (host.part() for host in found)):
        os.kill(part, signal.SIGKILL)


@pytest.fixture
def published(hosts, tmp_path):
    """The manifest of the snapshot that the first host has."""
    document = write_parcel(tmp_path / "parcel", snapshot())
    done = hosts[0].ask(None, weights_import, directory=str(tmp_path / "parcel"))
    assert not done.get("failed"), done
    return document


def test_a_snapshot_goes_from_host_to_host_and_nothing_listens_afterwards(hosts, published):
    for host in hosts:
        host.start()
    for host in hosts[1:]:
        received = host.ask("received")
        assert received["bytes_received"] >= 2_000_000
        done = host.ask(None, weights_import, directory=received["directory"], move=True)
        assert done["manifest_sha256"] == published["digest"]
    for host in hosts:
        stopped = host.ask("stopped")
        assert (stopped["changed"], stopped["published"]) == (True, True)
        assert host.listens() == 0
        assert not (host.root / "fleet").exists()
        assert not host.ask("stopped")["changed"]


def test_what_is_there_already_is_not_sent(hosts, published):
    oid = next(file["sha256"] for file in published["files"] if file["lfs"])
    target = Path(_lfs.object_path(str(hosts[1].root), oid))
    target.parent.mkdir(parents=True)
    target.write_bytes(Path(_lfs.object_path(str(hosts[0].root), oid)).read_bytes())
    _lfs.seal(str(target))
    for host in hosts[:2]:
        host.start()
    assert hosts[1].ask("received")["bytes_received"] < 1_500_000


def test_a_host_that_comes_later_gets_all_of_it_as_well(hosts, published):
    first, second = hosts[1:]
    hosts[0].start()
    first.start()
    first.ask("received")
    second.start()
    assert second.ask("received")["bytes_received"] >= 2_000_000
    assert first.ask("stopped")["bytes_there"] >= 2_000_000


def test_a_seed_that_dies_leaves_what_has_come_to_the_next_run(hosts, published):
    seed, receiver = hosts[:2]
    seed.start()
    receiver.start(patience=2)
    while not list(receiver.root.glob("fleet/*/plan.json")):  # it has heard of the seed
        assert receiver.part()
    os.kill(seed.part(), signal.SIGKILL)
    received = receiver.ask("received")
    assert received.get("problem", {"code": "all came before"})["code"] in ("seed_gone", "all came before")
    receiver.ask("stopped")
    for host in (seed, receiver):
        host.run = dict(host.run, secret="of the next run")
        host.start()
    assert receiver.ask("received")["directory"]


def test_an_altered_file_is_refused_and_named(hosts, published):
    """Altered with its seal kept, as no quick check would see it."""
    file = next(file for file in published["files"] if file["lfs"])
    path = os.path.join(hosts[0].spot.path, file["path"])
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.seek(5000)
        stream.write(b"altered")
    os.chmod(path, 0o444)
    os.utime(path, (_lfs.SEAL_TIME, _lfs.SEAL_TIME))
    for host in hosts[:2]:
        host.start()
    refused = hosts[1].ask("received")
    assert refused["problem"]["code"] == "object_altered"
    assert file["path"] in refused["msg"]
    assert not os.path.exists(_lfs.object_path(str(hosts[1].root), file["sha256"]))
    assert hosts[1].ask("stopped")["problem"]["code"] == "object_altered"
    assert "problem" not in hosts[1].ask("stopped")


def test_nobody_answers(hosts):
    hosts[1].start(patience=1)
    refused = hosts[1].ask("received")
    assert refused["problem"]["code"] == "seed_unreachable"
    assert "weights_fleet_port" in refused["msg"]


def test_a_full_disk_is_told_before_anything_is_taken(hosts, published):
    hosts[0].start()
    hosts[1].start(reserve_bytes=2**60)
    refused = hosts[1].ask("received")
    assert refused["problem"]["code"] == "disk_too_small"
    assert not list(Path(hosts[1].root).glob("objects"))


def test_an_address_that_is_not_this_host_s_is_told(hosts):
    hosts[1].start(address="192.0.2.1")
    assert hosts[1].ask("received")["problem"]["code"] == "cannot_listen"
    hosts[2].start(address="no.such.name.invalid")
    assert hosts[2].ask("received")["problem"]["code"] == "address_unknown"


def test_hosts_that_nobody_asks_any_more_end_by_themselves(hosts, published):
    for host in hosts[:2]:
        host.start(patience=1)
    for host in hosts[:2]:
        host.await_end()
    assert not any("ended" in host.ask("stopped") for host in hosts[:2])
    assert hosts[0].listens() == 0


def test_a_part_ends_after_its_time(hosts, published):
    hosts[0].start(timeout=1)
    hosts[0].await_end()
    assert hosts[0].listens() == 0


def test_a_second_part_is_refused_and_the_first_goes_on(hosts, published):
    hosts[0].start()
    first = hosts[0].part()
    wanted = {"address": A, "peers": [A, B, C], "seed": A, **hosts[0].run}
    assert result(hosts[0].module(weights_swarm, state="started", **wanted))["problem"]["code"] == "locked"
    assert hosts[0].part() == first


def test_a_part_for_another_snapshot_is_waited_for(hosts, published, tmp_path):
    hosts[0].start(patience=5)
    progress = tmp_path / "progress.json"
    other = hosts[0].module(weights_swarm, state="stopped", commit="6" * 40, progress_file=str(progress))
    while not progress.exists():
        assert other.poll() is None
    assert hosts[0].part()  # nobody has ended it
    hosts[0].ask("stopped")
    assert not result(other)["published"]
    hosts[0].start()
    assert not hosts[0].ask("stopped", commit="6" * 40, timeout=1)["published"]
    assert hosts[0].part()


def test_the_part_of_another_run_is_waited_for_and_not_ended(hosts, published, tmp_path):
    seed, receiver = hosts[:2]
    seed.start()
    receiver.start()
    progress = tmp_path / "progress.json"
    wanted = {"state": "stopped", "secret": "of a later run", "progress_file": str(progress)}
    later = receiver.module(weights_swarm, **wanted)
    while not progress.exists():
        assert later.poll() is None
    directory = receiver.ask("received")["directory"]
    receiver.ask(None, weights_import, directory=directory)
    receiver.ask("stopped", secret=receiver.run["secret"])
    done = result(later)
    assert (done["waited"], done["published"]) == (True, True)


LESSER, GREATER = sorted(
    ["of one run", "of another"], key=lambda secret: hashlib.sha256(f"run {secret}".encode()).hexdigest()
)


@pytest.mark.parametrize("commit", [COMMIT, "6" * 40], ids=["the same snapshot", "another snapshot"])
def test_of_two_runs_in_the_same_moment_one_goes_first_on_every_host(hosts, published, commit):
    """The lesser comes first on one host and last on the other, and has both in the end."""
    seed, receiver = hosts[:2]
    for host in (seed, receiver):
        host.run = dict(host.run, secret=LESSER)
    greater = {"secret": GREATER, "commit": commit}
    seed.start()
    receiver.start(**greater)
    wanted = {"address": A, "peers": [A, B], "seed": A, **seed.run, **greater}
    assert result(seed.module(weights_swarm, state="started", **wanted))["problem"]["code"] == "gave_way"
    receiver.start()
    gone = result(receiver.module(weights_swarm, state="received", secret=GREATER, commit=commit))
    assert gone["problem"]["code"] == "gave_way"
    assert receiver.ask("received")["directory"]


def test_the_secret_lies_nowhere_on_the_host(hosts, published):
    secret = "known-to-the-run-alone"
    hosts[0].start(secret=secret)
    part = hosts[0].part()
    assert secret not in Path(f"/proc/{part}/cmdline").read_text()
    named = [path for path in hosts[0].root.rglob("*") if path.is_file() and "arguments" not in path.name]
    assert not any(secret.encode() in path.read_bytes() for path in named)


@pytest.fixture
def part(tmp_path):
    """A part in this process, and what it tells (list)."""
    told = []

    class Listener:
        def tell(self, *words, **more):
            told.append((*words, more))

    class Module:
        params = {
            "repo": REPO,
            "commit": COMMIT,
            "weights_dir": str(tmp_path),
            "include": [],
            "exclude": [],
            "secret": "",
            "timeout": 1,
        }

    return weights_swarm.Part(Module(), Listener()), told


def test_who_waits_says_how_far_it_is(part):
    part, told = part
    part.follow({})
    part.follow({"bytes_done": 5, "bytes_total": 10})
    assert told == [
        ("waiting for the seed", {}),
        ("carrying weights", 5, 10, {"rate": 0.0, "seconds_left": None}),
    ]
