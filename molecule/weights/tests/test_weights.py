"""Weights on one server: whatever happens on the way, no byte comes twice, and none that is wrong is served."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import begin, kill, model, playbook, recap, run, vanished

HOST, HUB = "gpu2", "nim-lab-hub"
FETCH = "../molecule/weights/fetch"
NUMBERS = itertools.count(1)
CAPITALS, BASE = "lab/Llama-3.2-1B-capitals", "lab/Llama-3.2-1B"
HALF = 50_000  # bytes: about half of a shard
HEADERS = 70_000  # bytes: more than the plan reads of a shard
# What a download whose connection ends may have sent that never arrived.
SLACK = 1.01


@pytest.fixture
def store():
    """A directory for objects and snapshots that nothing is in."""
    path = f"/var/lib/nim/rehearsal-{next(NUMBERS)}"
    yield path
    run(HOST, f"rm -rf {path}")


def wishes(store, *models):
    return {"rehearsal_dir": store, "nim_models": list(models) or [model()]}


def fetch(store, *models, **variables):
    return playbook(FETCH, **wishes(store, *models), **variables)


def start(store, *models, **variables):
    return begin(FETCH, **wishes(store, *models), **variables)


@contextmanager
def faults(**said):
    """The hub misbehaves: see FAULTS in lab/images/hub/hub.py."""
    tell_hub(**said)
    try:
        yield
    finally:
        tell_hub()


def tell_hub(**said):
    text = json.dumps(said)
    script = (
        f"echo '{text}' > /srv/faults.new && mv /srv/faults.new /srv/faults.json" if said else "rm -f /srv/faults.json"
    )
    subprocess.run(["docker", "exec", HUB, "sh", "-c", script], check=True)


class Log:
    """What the hub has logged of downloads since this was made."""

    def __init__(self):
        self._before = len(self._all())

    @staticmethod
    def _all():
        said = subprocess.run(["docker", "logs", HUB], capture_output=True, text=True, check=True).stdout
        return re.findall(r"^GET /lfs/(\S+)/[0-9a-f]{64} (\d+) (\d+)$", said, re.MULTILINE)

    def statuses(self):
        return [int(status) for _repo, status, _sent in self._all()[self._before :]]

    def sent(self, repo=CAPITALS, least=0):
        """The bytes of large files that left the hub, by answers of that many bytes at least."""
        answers = self._all()[self._before :]
        sizes = [int(sent) for name, status, sent in answers if name == repo and int(status) < 300]
        return sum(size for size in sizes if size >= least)


def progress(store, repo=CAPITALS):
    """What is told of the fetch, or nothing yet."""
    return json.loads(run(HOST, f"cat {store}/{repo.replace('/', '--')}/progress.json 2>/dev/null || echo '{{}}'"))


def wait_for(condition, process=None):
    """Until condition() holds; its value. Each look takes its time, so nothing is slept."""
    for _look in range(600):
        found = condition()
        if found:
            return found
        assert process is None or process.poll() is None, process.communicate()[0]
    raise AssertionError("it never came")


def held(store, process):
    """Wait until both shards have come to the byte at which the hub holds them."""
    return wait_for(lambda: progress(store).get("bytes") == 2 * HALF and progress(store), process)


def snapshots(store):
    return run(
        HOST, f"find {store} -mindepth 2 -maxdepth 2 -type d -regextype egrep -regex '.*/[0-9a-f]{{40}}'"
    ).split()


def published(store, log, repo=CAPITALS):
    """That the snapshot is there, whole, after its bytes came once."""
    found = progress(store, repo)
    assert found["phase"] == "published"
    assert found["bytes"] == found["total"] > 2 * HALF
    assert found["total"] <= log.sent(repo) <= found["total"] * SLACK
    assert len(snapshots(store)) >= 1


def test_a_fetch_that_is_killed_at_half_goes_on_where_it_stopped(store):
    log = Log()
    with faults(hold_after=HALF):
        process = start(store)
        held(store, process)
        run(HOST, f"pkill -KILL -s $(cat {store}/lab--Llama-3.2-1B-capitals/lock)")
        kill(process)
    assert snapshots(store) == []
    done = fetch(store)
    assert done.returncode == 0, done.stdout
    published(store, log)
    assert recap(fetch(store).stdout)[HOST]["changed"] == 0


def test_a_server_that_reboots_at_half_goes_on_where_it_stopped(store):
    log = Log()
    with faults(hold_after=HALF):
        process = start(store)
        held(store, process)
        with vanished(HOST):
            process.communicate()
    assert process.returncode != 0
    assert snapshots(store) == []
    done = fetch(store)
    assert done.returncode == 0, done.stdout
    published(store, log)


@pytest.fixture
def disk(store):
    """The store on a disk of its own, of 2 MiB."""
    run(HOST, f"mkdir {store} && mount -t tmpfs -o size=2m tmpfs {store}")
    yield store
    run(HOST, f"umount --lazy {store}")


def test_a_disk_that_fills_up_meanwhile_is_told_and_nothing_comes_twice(disk):
    with faults(hold_after=HALF):
        process = start(disk, weights_reserve_bytes=0)
        total = held(disk, process)["total"]
        run(HOST, f"dd if=/dev/zero of={disk}/others bs=4k 2>/dev/null || :")
    output = process.communicate()[0]
    assert process.returncode != 0
    assert "The disk is full" in output
    assert snapshots(disk) == []
    run(HOST, f"rm {disk}/others")
    log = Log()
    done = fetch(disk, weights_reserve_bytes=0)
    assert done.returncode == 0, done.stdout
    assert log.sent() <= total - 2 * HALF
    assert len(snapshots(disk)) == 1


def test_a_fetch_goes_on_without_its_control_node(store):
    log = Log()
    with faults(hold_after=HALF):
        process = start(store)
        held(store, process)
        kill(process)
        assert snapshots(store) == []
    wait_for(lambda: progress(store)["phase"] == "published")
    done = fetch(store)
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)[HOST]["changed"] == 0
    published(store, log)


def test_an_address_that_expires_in_the_middle_is_asked_for_anew(store):
    log = Log()
    tell_hub(cut_after=HALF, signed_for=0)
    try:
        process = start(store)
        wait_for(lambda: 403 in log.statuses(), process)
        tell_hub(cut_after=HALF)
        wait_for(lambda: 200 in log.statuses(), process)
        tell_hub(cut_after=HALF, signed_for=0)
        looked = len(log.statuses())
        wait_for(lambda: 403 in log.statuses()[looked:], process)
        tell_hub()
        assert process.wait() == 0, process.communicate()[0]
        process.communicate()
    finally:
        tell_hub()
    published(store, log)


def test_a_busy_hub_is_left_alone_as_long_as_it_asks(store):
    log = Log()
    with faults(status=429, retry_after=2):
        process = start(store)
        wait_for(lambda: 429 in log.statuses(), process)
    assert process.wait() == 0, process.communicate()[0]
    process.communicate()
    published(store, log)


def test_wrong_bytes_are_not_published(store):
    done = fetch(store, model(weights__repo="lab/broken-object"))
    assert done.returncode != 0
    assert "other bytes than the repository promises" in done.stdout
    assert "model-00002-of-00002.safetensors" in done.stdout
    assert snapshots(store) == []
    assert progress(store, "lab/broken-object")["phase"] == "failed"


def test_two_runs_and_two_repositories_at_once(store):
    log = Log()
    base = model(name="base", weights__repo=BASE)
    with faults(hold_after=HALF):
        same, other = start(store), start(store, base)
        held(store, same)
        again = start(store)
        wait_for(lambda: progress(store, BASE).get("bytes") == 2 * HALF, other)
    for process in (same, again, other):
        output, _nothing = process.communicate()
        assert process.returncode == 0, output
    published(store, log)
    published(store, log, BASE)
    assert len(snapshots(store)) == 2


def served():
    """The snapshot that serves, and one of its shards."""
    [path] = snapshots("/var/lib/nim/weights")
    return path, f"{path}/model-00001-of-00002.safetensors"


def test_what_serves_is_told_and_proven():
    path, _shard = served()
    status = playbook("status", limit=HOST)
    manifest = json.loads(run(HOST, f"cat {path}.manifest.json"))
    [row] = [line for line in status.stdout.splitlines() if HOST in line and f" {CAPITALS}@" in line]
    assert f"{CAPITALS}@{manifest['commit'][:12]}" in row
    assert manifest["digest"][:12] in row
    ledger = [json.loads(line) for line in run(HOST, "cat /var/lib/nim/capitals/ledger.jsonl").splitlines()]
    assert manifest["digest"] in json.dumps(ledger[-1])
    done = playbook("verify", limit=HOST, weights_deep=True)
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)[HOST]["changed"] == 0


def test_bytes_that_were_altered_are_named_and_mended():
    _path, shard = served()
    run(HOST, f"chmod 644 {shard} && printf X | dd of={shard} bs=1 seek=90000 conv=notrunc 2>/dev/null")
    # As somebody would who hides it: by size, mode and time it is what it was.
    run(HOST, f"chmod 444 {shard} && touch -d @946684800 {shard}")
    assert playbook("verify", limit=HOST).returncode == 0
    deep = playbook("verify", limit=HOST, weights_deep=True)
    assert deep.returncode != 0
    assert "altered on disk: model-00001-of-00002.safetensors in" in " ".join(deep.stdout.split())
    run(HOST, f"touch {shard}")
    quick = playbook("verify", limit=HOST)
    assert quick.returncode != 0
    assert "altered on disk: model-00001-of-00002.safetensors in" in " ".join(quick.stdout.split())
    log, serving = Log(), run(HOST, "docker ps --quiet")
    done = playbook("deploy", limit=HOST)
    assert done.returncode == 0, done.stdout
    assert "its weights are gone, or were altered on disk" in " ".join(done.stdout.split())
    assert run(HOST, "docker ps --quiet") == serving
    assert 0 < log.sent(least=HEADERS) < progress("/var/lib/nim/weights")["total"]  # that shard alone
    again = playbook("verify", limit=HOST, weights_deep=True)
    assert again.returncode == 0, again.stdout
    assert recap(playbook("deploy", limit=HOST).stdout)[HOST]["changed"] == 0


def test_an_image_comes_beside_the_weights_and_both_without_their_control_node(store):
    """The image comes while the hub holds the weights; the control node is killed; the next run finds both."""
    image = "nvcr.lab/nim/meta/llama-3.2-1b-instruct:1.15.5"
    wanted = {"weights_dir": store, "nim_models": [model(image=image)], "nim_allow_downtime": True}
    before = images()
    with faults(hold_after=HALF):
        process = begin("stage", limit=HOST, **wanted)
        held(store, process)
        wait_for(lambda: images() - before, process)
        kill(process)
        assert snapshots(store) == []
    again = playbook("stage", limit=HOST, **wanted)
    assert again.returncode == 0, again.stdout
    # How many bytes were sent is no question here: git-lfs asks again where a byte is held for half a minute.
    assert progress(store)["phase"] == "published"
    assert len(snapshots(store)) == 1


def images():
    return set(run(HOST, "docker image ls --quiet --no-trunc").split())
