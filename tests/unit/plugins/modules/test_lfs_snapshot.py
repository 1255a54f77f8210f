# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""lfs_snapshot against a real git, a real git-lfs and a hub on 127.0.0.1."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import parcels
import pytest
from ansible.module_utils import basic
from hub_server import OUTSIDER, READER, Hub, pointer

from ansible_collections.llmops.nim.plugins.module_utils import _transfers
from ansible_collections.llmops.nim.plugins.modules import lfs_snapshot

pytestmark = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("git-lfs")), reason="git and git-lfs are not installed"
)

CONFIG = json.dumps(
    {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16", "max_position_embeddings": 2048}
).encode()
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
MODULE = lfs_snapshot.__name__


def weights(seed, size=200_000):
    """As parcels.weights(), larger."""
    return parcels.weights(seed, size)


@pytest.fixture
def hub(tmp_path):
    (tmp_path / "hub").mkdir()
    with Hub(tmp_path / "hub") as server:
        yield server


def model(hub, repo="lab/model", extra=None, without=(), seeds=(1, 2), **kwargs):
    """Commit a model of two shards to repo; its commit."""
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    files = {
        ".gitattributes": ATTRIBUTES,
        "config.json": CONFIG,
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
        "model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", names))}).encode(),
        **{name: hub.lfs(weights(seed)) for name, seed in zip(names, seeds)},
        **(extra or {}),
    }
    return hub.commit(repo, {path: data for path, data in files.items() if path not in without}, **kwargs)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "weights"


@pytest.fixture
def run(hub, store, monkeypatch, capsys):
    """Run the module in this process, all of it; its result (dict)."""

    def call(**params):
        check = params.pop("check", False)
        params = {"repo": "lab/model", "endpoint": hub.url, "weights_dir": str(store), "retries": 0, **params}
        params["_ansible_check_mode"] = check
        load = f'{{"ANSIBLE_MODULE_ARGS": {json.dumps(params)}}}'.encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", load)
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        monkeypatch.setattr(lfs_snapshot._detached, "call", lambda work: work())
        capsys.readouterr()
        umask = os.umask(0o022)
        try:
            with pytest.raises(SystemExit):
                lfs_snapshot.main()
        finally:
            os.umask(umask)
        return json.loads(capsys.readouterr().out)

    return call


def refused(result, code, *words):
    """Assert that result is a refusal with that code which says words; its message."""
    assert result.get("failed"), result
    assert code in [problem["code"] for problem in result["problems"]], result["msg"]
    for problem in result["problems"]:
        assert problem["what"]
        assert problem["remedy"], problem
    for word in words:
        assert word in result["msg"]
    return result["msg"]


def snapshots(store):
    """The snapshot directories, partial ones included."""
    return sorted(path.name for path in store.glob("*--*/*") if path.is_dir() and path.name != "git")


def spawn(store, hub, env=None, **params):
    """Start the module as a process group of its own, with env (dict) on top of the environment."""
    params = {"repo": "lab/model", "endpoint": hub.url, "weights_dir": str(store), "retries": 0, **params}
    script = (
        # Whoever started the tests may have had SIGHUP ignored, as nohup does.
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "import sys, json; from ansible.module_utils import basic; import importlib;"
        f"basic._ANSIBLE_ARGS = sys.stdin.buffer.read(); basic._ANSIBLE_PROFILE = 'legacy';"
        f"importlib.import_module('{MODULE}').main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **(env or {})}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
    process.stdin.close()
    process.stdin = None
    return process


def holder(store):
    """The process that holds the repository's lock: the one that spawn()'s has started for the work."""
    return int((store / "lab--model" / "lock").read_text())


def end(process, store):
    """Kill what spawn() has started, and all that this has started."""
    for group in (holder(store), process.pid):
        os.killpg(group, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def result_of(process):
    """What the module that spawn() has started returns (dict)."""
    return json.loads(process.communicate()[0])


def ended(place, name):
    """What is known of a transfer once it is over."""
    for _look in range(1200):
        heard = _transfers.hear(place, name)
        if heard["over"]:
            return heard
        threading.Event().wait(0.05)
    raise AssertionError("it never ended")


def test_publishes_a_proven_snapshot(hub, run, store):
    commit = model(hub, extra={"sub dir/-note.txt": b"note"})
    result = run(include=["**"])
    assert result["changed"] is True
    assert result["commit"] == commit
    path = Path(result["path"])
    assert path.parent == store / "lab--model"
    assert re.fullmatch(commit + "-[0-9a-f]{8}", path.name)
    assert result["files"] == 8
    assert result["bytes_fetched"] == 400_000
    assert result["bytes_total"] == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    assert result["checkpoint"]["architecture"] == "LlamaForCausalLM"
    assert result["checkpoint"]["has_chat_template"] is True
    assert (path / "sub dir/-note.txt").read_bytes() == b"note"
    for file in path.rglob("*"):
        assert file.stat().st_mode & 0o777 == (0o550 if file.is_dir() else 0o440)
    assert path.stat().st_mode & 0o777 == 0o550
    shard = path / "model-00001-of-00002.safetensors"
    assert shard.read_bytes() == weights(1)
    assert shard.stat().st_nlink == 2  # one copy on the disk
    assert not list((store / "lab--model" / "git" / "lfs").glob("incomplete/*"))
    manifest = json.loads(Path(result["manifest"]).read_text())
    assert manifest["digest"] == result["manifest_sha256"]
    assert [file["path"] for file in manifest["files"] if file["lfs"]] == [
        f"model-0000{n}-of-00002.safetensors" for n in (1, 2)
    ]


def test_the_digest_is_what_coreutils_say(hub, run):
    model(hub, extra={"Zeta": b"1", "a b/c": b"2", "é": b"3", "a-b": b"4"})
    result = run()
    command = r"find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    out = subprocess.run(["bash", "-c", command], cwd=result["path"], stdout=subprocess.PIPE, check=True).stdout
    assert out.split()[0].decode() == result["manifest_sha256"]


def test_a_second_run_changes_nothing_and_with_a_commit_connects_to_nothing(hub, run, store):
    commit = model(hub)
    first = run(revision=commit)
    assert first["changed"] is True
    before = len(hub.requests)
    second = run(revision=commit, endpoint="http://127.0.0.1:1")
    assert second["changed"] is False
    assert second["bytes_fetched"] == 0
    assert len(hub.requests) == before
    for key in ("path", "commit", "manifest_sha256", "bytes_total", "files", "checkpoint"):
        assert second[key] == first[key]
    assert run()["changed"] is False  # a branch is looked up, nothing else
    assert [path for _port, _method, path, *_rest in hub.requests[before:]] == [
        "/lab/model/info/refs",
        "/lab/model/git-upload-pack",
    ]


def test_revisions(hub, run, store):
    model(hub, seeds=(7, 8))
    first = model(hub, tags=["v1"])
    second = model(hub, seeds=(1, 3))
    assert run(revision="v1")["commit"] == first  # the commit, not the tag object
    result = run(revision="main")
    assert result["commit"] == second
    assert result["bytes_fetched"] == 200_000  # the shard that both have is there
    assert run(revision=first.upper())["commit"] == first
    git_dir = str(store / "lab--model" / "git")
    history = subprocess.run(["git", "--git-dir", git_dir, "rev-list", "--all"], stdout=subprocess.PIPE, check=True)
    assert sorted(history.stdout.decode().split()) == sorted([first, second])  # two, and nothing before them


def used(directory):
    """The bytes that all files beneath directory take on the disk, each once."""
    found = {}
    for place, _directories, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # git-lfs is at work
                status = os.lstat(os.path.join(place, name))
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


@pytest.fixture
def peak(store):
    """Calls what it is given; the most bytes that the store has taken meanwhile."""

    def watch(act):
        seen, ended = [], threading.Event()

        def look():
            while not ended.wait(0.002):
                seen.append(used(store))

        watcher = threading.Thread(target=look)
        watcher.start()
        act()
        ended.set()
        watcher.join()
        return max(*seen, used(store))

    return watch


def test_a_new_revision_takes_its_new_bytes_and_at_no_time_more(hub, run, store, peak):
    names, size = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)], 4_000_000

    def revision(*seeds):
        return model(hub, extra={name: hub.lfs(weights(seed, size)) for name, seed in zip(names, seeds)})

    run(revision=revision(1, 2))
    before, commit = used(store), revision(1, 3)
    most = peak(lambda: run(revision=commit))
    assert size <= most - before <= 1.02 * size


def test_check_mode_tells_the_truth_and_changes_nothing(hub, run, store):
    commit = model(hub)
    foreseen = run(check=True)
    assert not store.exists()
    assert foreseen["changed"] is True
    assert hub.downloads() == []
    real = run()
    for key in ("path", "commit", "manifest_sha256", "bytes_total", "bytes_fetched", "files", "diff"):
        assert foreseen[key] == real[key], key
    assert foreseen["checkpoint"]["parameters"] is None  # only the headers of the weights tell
    assert real["checkpoint"]["parameters"] == 199_800
    assert {**foreseen["checkpoint"], "parameters": 199_800} == real["checkpoint"]
    assert run(check=True, revision=commit)["changed"] is False


def test_check_mode_without_git(hub, run, store, monkeypatch):
    commit = model(hub)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = run(check=True)
    assert (result["changed"], result["bytes_fetched"]) == (True, None)
    assert result["path"] == str(store / "lab--model" / commit)
    refused(run(), "git_missing", "git is not installed")


def test_without_git_lfs(hub, run, store, monkeypatch):
    model(hub)
    real = lfs_snapshot.AnsibleModule.run_command

    def run_command(self, args, **kwargs):
        return (1, "", "git: 'lfs' is not a git command.") if "lfs" in args else real(self, args, **kwargs)

    monkeypatch.setattr(lfs_snapshot.AnsibleModule, "run_command", run_command)
    refused(run(), "git_lfs_missing", "Install git-lfs")
    assert not store.exists()
    assert run(check=True)["changed"] is True


def test_gated_repository(hub, run):
    model(hub)
    hub.gated.add("lab/model")
    refused(run(), "repo_unknown_or_gated", "does not exist", "gated or private", "no token was given")
    refused(run(token=OUTSIDER), "no_access", "not in the authorized list", "Accept the terms at " + hub.url)
    refused(run(token="hf_mistyped"), "token_invalid", "does not accept the token")
    assert run(token=READER)["changed"] is True


def test_unknown_repository(hub, run):
    refused(run(repo="lab/nowhere"), "repo_unknown_or_gated")
    refused(run(repo="lab/nowhere", token=READER), "repo_unknown", "lab/nowhere does not exist")


@pytest.mark.parametrize("check", [False, True])
def test_unknown_revisions(hub, run, store, check):
    commit = model(hub, tags=["v1"])
    refused(run(revision="v9", check=check), "revision_unknown", "branch main", "tag v1")
    refused(run(revision=commit[:10], check=check), "revision_short", "in full")
    refused(run(revision="0" * 40, check=check), "revision_unknown", "0" * 40)
    assert not store.exists()


def test_a_refusal_leaves_other_commits_alone(hub, run, store):
    good = model(hub)
    assert run()["changed"] is True
    model(hub, without=["config.json"])
    refused(run(), "no_config")
    assert snapshots(store) == [good]
    assert run(revision=good)["changed"] is False


def test_hub_down(run):
    refused(run(endpoint="http://127.0.0.1:1"), "hub_unreachable", "cannot be reached")
    refused(run(endpoint="http://hub.invalid"), "hub_unreachable", "cannot be resolved")


def test_hub_without_tls(hub, run):
    refused(run(endpoint=hub.url.replace("http:", "https:")), "hub_tls")


BROKEN = {
    "no config.json": ({"without": ["config.json"]}, "no_config", "config.json is missing"),
    "no tokenizer": ({"without": ["tokenizer.json"]}, "no_tokenizer", "tokenizer"),
    "a shard missing": (
        {"without": ["model-00002-of-00002.safetensors"]},
        "shard_missing",
        "missing: model-00002-of-00002.safetensors",
    ),
    "a pointer for a shard": (
        {"extra": {".gitattributes": b"*.bin filter=lfs\n"}},
        "pointer_instead_of_file",
        "model-00001-of-00002.safetensors is the text of a git-lfs pointer",
    ),
    "half a pointer for a shard": (
        {"extra": {"model-00001-of-00002.safetensors": pointer(b"x")[:50]}},
        "pointer_instead_of_file",
        "model-00001-of-00002.safetensors",
    ),
    "an invalid config.json": ({"extra": {"config.json": b"<html>"}}, "invalid_json", "config.json is not valid JSON"),
    "a symbolic link": ({"extra": {"link": ("120000", b"/etc/passwd")}}, "unsafe_path", "a symbolic link: 'link'"),
    "a submodule": ({"extra": {"sub": ("160000", b"1" * 40)}}, "unsafe_path", "a submodule: 'sub'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_repository_is_refused_before_the_download(hub, run, store, name):
    change, code, words = BROKEN[name]
    commit = model(hub, **change)
    refused(run(), code, words, f"lab/model at {commit} is refused")
    assert hub.downloads() == []
    assert not store.exists()
    refused(run(check=True), code, words)


def test_all_problems_at_once(hub, run):
    model(hub, without=["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
    codes = {problem["code"] for problem in run(reserve_bytes=2**60)["problems"]}
    assert codes == {"no_config", "no_tokenizer", "shard_missing", "disk_too_small"}


def test_disk_too_small(hub, run, store):
    model(hub)
    refused(run(reserve_bytes=2**50), "disk_too_small", "1048576.00 GiB are needed", "GiB are free")
    assert hub.downloads() == []


def test_the_hub_sends_other_bytes(hub, run, store):
    model(hub)
    oid, data = sorted(hub.objects.items())[0]
    hub.wrong[oid] = data[:-1] + b"!"
    refused(run(), "object_corrupt", oid, "other bytes", ".safetensors")
    assert snapshots(store) == []
    assert not (store / "objects" / oid[:2] / oid[2:4] / oid).exists()
    del hub.wrong[oid]
    assert run()["bytes_fetched"] == 200_000  # the good one was kept


def test_the_hub_has_no_content(hub, run, store):
    model(hub)
    oid = min(hub.objects)
    del hub.objects[oid]
    refused(run(), "object_missing", oid, ".safetensors")
    assert snapshots(store) == []


def test_a_pointer_uploaded_as_the_object_itself(hub, run, store):
    model(hub, extra={"model-00001-of-00002.safetensors": hub.lfs(pointer(b"x"))})
    refused(run(), "pointer_instead_of_file", "uploaded in the place of the weights")
    assert snapshots(store) == []


def test_weights_are_judged_by_their_headers_once_they_are_there(hub, run, store):
    other = weights(1).replace(b'"a"', b'"c"')
    model(hub, extra={"model-00001-of-00002.safetensors": hub.lfs(other)})
    refused(run(), "tensor_missing", "a in model-00001-of-00002.safetensors")
    assert snapshots(store) == []


def test_what_is_doubtful_is_returned_and_kept(hub, run):
    commit = model(hub, extra={"tokenizer_config.json": b"{}", "read me.md": b"x"})
    first, second = run(include=["**"]), run(include=["**"], revision=commit)
    assert [warning["code"] for warning in first["checkpoint_warnings"]] == ["file_name_space", "no_chat_template"]
    assert second["changed"] is False
    assert second["checkpoint_warnings"] == first["checkpoint_warnings"]


def test_a_repository_without_lfs_files(hub, run):
    shards = {f"model-0000{n}-of-00002.safetensors": weights(n) for n in (1, 2)}
    commit = model(hub, extra=shards, without=[".gitattributes"])
    result = run()
    assert (result["changed"], result["bytes_fetched"], hub.downloads()) == (True, 0, [])
    assert {name: (Path(result["path"]) / name).read_bytes() for name in shards} == shards
    assert run(revision=commit)["changed"] is False


def test_large_files_of_odd_names(hub, run):
    names = ("-rf", "--include=x", "a b/ c,d.bin", "{x}*[y].bin", "%41", "~", "é'$(id).bin")
    files = {name: f"content of {name}".encode() for name in names}
    model(hub, extra={".gitattributes": b"* filter=lfs\n", **{name: hub.lfs(data) for name, data in files.items()}})
    result = run(include=["**"])
    assert {name: (Path(result["path"]) / name).read_bytes() for name in names} == files
    assert all((Path(result["path"]) / name).stat().st_nlink == 2 for name in names)


def test_only_what_is_wanted_is_fetched(hub, run, store):
    twin = "checkpoint-5/model-00001-of-00002.safetensors"
    extra = {
        twin: hub.lfs(weights(8)),
        "consolidated.safetensors": hub.lfs(weights(9)),
        "a,b*.png": hub.lfs(b"picture"),
        "pytorch_model.bin": hub.lfs(b"pickle"),
    }
    commit = model(hub, extra=extra)
    foreseen, result = run(check=True), run()
    assert foreseen["bytes_fetched"] == result["bytes_fetched"] == 400_000
    assert foreseen["bytes_total"] == result["bytes_total"]
    assert {oid for oid, _range in hub.downloads()} == {hashlib.sha256(weights(seed)).hexdigest() for seed in (1, 2)}
    path = Path(result["path"])
    assert path == store / "lab--model" / commit
    assert not (path / ".gitattributes").exists()
    other = run(include=["**"], exclude=["*.png"])
    assert other["bytes_fetched"] == 400_000 + len(b"pickle")
    assert other["manifest_sha256"] != result["manifest_sha256"]
    assert (Path(other["path"]) / twin).read_bytes() == weights(8)
    assert path.exists()  # the one beside it is another snapshot
    assert run()["changed"] is False
    assert run(include=["**"], exclude=["*.png"])["changed"] is False


def test_a_shard_that_is_left_out_is_missed(hub, run, store):
    model(hub)
    refused(run(exclude=["model-00002*"]), "shard_missing", "model-00002-of-00002.safetensors")
    assert not hub.downloads()
    assert not store.exists()


def test_pickles_are_refused_unless_they_are_allowed(hub, run, store):
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json")
    pickles = {"pytorch_model.bin": hub.lfs(b"pickle"), "optimizer.pt": hub.lfs(b"state")}
    model(hub, extra={".gitattributes": b"*.bin filter=lfs\n*.pt filter=lfs\n", **pickles}, without=names)
    refused(run(), "pickle_only", "pytorch_model.bin", "weights_allow_pickle")
    assert not store.exists()
    result = run(allow_pickle=True)
    assert result["bytes_fetched"] == len(b"pickle")
    assert (Path(result["path"]) / "pytorch_model.bin").read_bytes() == b"pickle"


def test_a_snapshot_by_the_patterns_of_another_version_is_made_anew(hub, run):
    model(hub)
    manifest = Path(run()["manifest"])
    document = json.loads(manifest.read_text())
    document["selection"]["include"].pop()
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(document))
    assert run()["changed"] is True
    assert run()["changed"] is False


def test_a_cut_connection_is_resumed(hub, run):
    model(hub)
    oid = min(hub.objects)
    hub.cut[oid] = 150_000
    assert run()["changed"] is True
    assert (oid, "bytes=150000-199999") in hub.downloads()


def test_a_busy_hub_is_asked_again(hub, run, pauses):
    model(hub)
    oid = min(hub.objects)
    hub.status[oid] = [503] * 2  # git-lfs itself asks twice
    assert run(retries=1)["changed"] is True


BATCH = "/lab/model.git/info/lfs/objects/batch"
REFS = "/lab/model/info/refs"


@pytest.fixture
def pauses(monkeypatch):
    """The pauses (seconds) that were made, none of which takes any time."""
    made = []
    # Not time.sleep itself, which threads of others use.
    monkeypatch.setattr(lfs_snapshot._patience, "time", SimpleNamespace(sleep=made.append, monotonic=time.monotonic))
    return made


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_asks_to_wait_is_left_alone_as_long_as_it_asks(hub, run, pauses, status):
    commit = model(hub)
    hub.failures[REFS] = [(status, {"Retry-After": "40"})] * 2  # git's request, and ours for how long
    assert run(revision=commit, retries=1)["changed"] is True
    assert pauses == [40]


def test_a_hub_that_gives_no_addresses_now_is_left_alone_as_long_as_it_asks(hub, run, pauses):
    commit = model(hub)
    hub.failures[BATCH] = [(503, {"Retry-After": "50"})] * 2  # git-lfs' request, and ours for how long
    assert run(revision=commit, retries=1)["changed"] is True
    assert pauses == [50]


def test_a_hub_that_asks_for_too_long_is_told_as_busy(hub, run, store, pauses):
    commit = model(hub)
    hub.failures[REFS] = [(429, {"Retry-After": "7200"})] * 2
    refused(run(revision=commit, retries=1), "hub_busy", "7200 s")
    assert pauses == []
    assert not store.exists()


def test_a_download_that_is_refused_as_one_too_many_is_told_as_the_hub_tells_it(hub, run, pauses):
    commit = model(hub)
    oids = sorted(hub.objects)
    for oid in oids:
        hub.status[oid] = [(429, {"Retry-After": "0"})] * 99  # of which git-lfs says nothing
    refused(run(), "hub_busy", "limits the rate", "HTTP 429", "Wait some minutes")
    hub.status.clear()
    assert run(revision=commit)["changed"] is True


def test_a_git_lfs_that_is_killed_at_once_is_not_told_as_missing(hub, run, monkeypatch):
    model(hub)
    git, killed = lfs_snapshot._clone._hub.git, (1, "", "error: git-lfs died of signal 9")
    monkeypatch.setattr(
        lfs_snapshot._clone._hub,
        "git",
        lambda *args, **kwargs: killed if ["lfs", "version"] in args else git(*args, **kwargs),
    )
    refused(run(), "killed", "git-lfs was killed", "dmesg")


def test_an_address_that_expires_while_it_is_used_is_asked_for_anew(hub, run, pauses):
    commit = model(hub)
    oid = min(hub.objects)
    hub.cut[oid] = 150_000
    hub.sent = lambda sent: sent == oid and hub.status.setdefault(oid, [403])
    assert run(revision=commit, retries=1, transfers=1)["changed"] is True
    assert [ranged for asked, ranged in hub.downloads() if asked == oid] == [None, *["bytes=150000-199999"] * 2]
    assert len([path for _port, _method, path, *_rest in hub.requests if path == BATCH]) == 3


def test_a_token_that_is_revoked_meanwhile(hub, run, store, pauses):
    commit = model(hub)
    hub.gated.add("lab/model")
    oid = min(hub.objects)
    hub.cut[oid] = 150_000

    hub.sent = lambda sent: sent == oid and hub.readers.clear()
    result = run(revision=commit, token=READER, retries=1, transfers=1)
    refused(result, "token_revoked", "what has arrived is kept")
    assert snapshots(store) == []
    assert len(hub.requests) < 20  # git-lfs alone would try the token without end
    hub.readers.add(READER)
    assert run(revision=commit, token=READER)["changed"] is True
    assert [ranged for asked, ranged in hub.downloads() if asked == oid][-1] == "bytes=150000-199999"


def test_a_body_that_is_too_short_is_refused(hub, run, store):
    model(hub)
    oid = min(hub.objects)
    hub.wrong[oid] = hub.objects[oid][:1000]
    refused(run(), "object_corrupt", oid)
    assert snapshots(store) == []


@pytest.mark.parametrize("where", ["refs", "batch", "object"])
def test_a_page_in_the_place_of_an_answer(hub, run, store, where):
    commit = model(hub)
    page = (200, {"Content-Type": "text/html"})
    if where == "object":
        hub.wrong = dict.fromkeys(hub.objects, b"<html>Please log in</html>")
    else:
        hub.failures[REFS if where == "refs" else BATCH] = [page] * 9
    refused(run(revision=commit), "object_corrupt" if where == "object" else "hub_odd")
    assert snapshots(store) == []


@pytest.mark.parametrize("where", ["refs", "batch", "object"])
def test_a_redirect_that_does_not_end(hub, run, store, monkeypatch, where):
    commit = model(hub)
    paths = {"refs": [REFS], "batch": [BATCH], "object": [f"/object/{oid}" for oid in hub.objects]}[where]
    for path in paths:
        base = hub.storage if where == "object" else hub.url
        query = "?service=git-upload-pack" if where == "refs" else ""
        hub.failures[path] = [(307, {"Location": f"{base}{path}{query}"})]
    monkeypatch.setattr(lfs_snapshot._patience, "STALLED", 1)
    refused(run(revision=commit), "hub_odd" if where == "refs" else "hub_unreachable")
    assert snapshots(store) == []


def test_a_killed_run_is_resumed_from_the_byte_where_it_stopped(hub, run, store):
    model(hub)
    hub.hold = (120_000, threading.Event())
    process = spawn(store, hub, transfers=1)
    assert hub.holding.acquire(timeout=120)
    incomplete = store / "lab--model" / "git" / "lfs" / "incomplete"
    on_disk = threading.Event()
    while not any(path.stat().st_size == 120_000 for path in incomplete.glob("*")):
        assert process.poll() is None
        on_disk.wait(0.01)  # the bytes are sent; nothing tells when git-lfs has written them
    end(process, store)
    assert snapshots(store) == []
    hub.hold[1].set()
    before = len(hub.downloads())
    result = run()
    assert result["changed"] is True
    assert "bytes=120000-199999" in [ranged for _oid, ranged in hub.downloads()[before:]]
    assert snapshots(store) == [result["commit"]]


def test_a_fetch_goes_on_when_its_connection_ends(hub, run, store):
    model(hub)
    hub.hold = (1000, threading.Event())
    process = spawn(store, hub)
    assert hub.holding.acquire(timeout=120)
    assert hub.holding.acquire(timeout=120)
    os.killpg(process.pid, signal.SIGHUP)  # as sshd does to what it has started
    process.wait()
    process.stdout.close()
    refused(run(lock_timeout=0), "locked")
    hub.hold[1].set()
    result = run()
    assert result["changed"] is False  # it was published meanwhile
    assert len(hub.downloads()) == 2


def test_downloads_that_outlive_their_run_are_waited_for(hub, run, store):
    model(hub)
    hub.hold = (1000, threading.Event())
    process = spawn(store, hub)
    assert hub.holding.acquire(timeout=120)
    assert hub.holding.acquire(timeout=120)
    os.kill(holder(store), signal.SIGKILL)  # that one alone: git-lfs goes on
    assert json.loads(process.communicate(timeout=120)[0])["problem"]["code"] == "killed"
    refused(run(lock_timeout=0), "locked")
    hub.hold[1].set()
    assert run()["changed"] is True
    assert len(hub.downloads()) == 2


def test_wrong_bytes_of_an_earlier_run_are_not_the_hubs_fault(hub, run, store):
    model(hub)
    oid = min(hub.objects)
    incomplete = store / "lab--model" / "git" / "lfs" / "incomplete"
    incomplete.mkdir(parents=True)
    (incomplete / f"{oid}.part").write_bytes(b"?" * 1000)
    assert run()["changed"] is True
    assert [ranged for asked, ranged in hub.downloads() if asked == oid] == ["bytes=1000-199999", None]


@pytest.mark.parametrize("moment", ["link", "swap"])
def test_a_run_killed_while_publishing_leaves_nothing_behind(hub, run, store, monkeypatch, moment):
    commit = model(hub)
    target, name = (lfs_snapshot._links, "place") if moment == "link" else (os, "rename")
    real = getattr(target, name)

    class Killed(BaseException):
        pass

    def kill(source, destination, *_sha256):
        awaited = ".safetensors" if moment == "link" else commit
        if not str(destination).endswith(awaited):
            return real(source, destination, *_sha256)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, kill)
        with pytest.raises(Killed):
            run()
    left = snapshots(store)
    assert len(left) == 1
    assert ".partial-" in left[0]
    result = run()
    assert result["changed"] is True
    assert result["bytes_fetched"] == 0
    assert snapshots(store) == [commit]
    assert run()["changed"] is False


def test_two_runs_at_once(hub, run, store, monkeypatch):
    commit = model(hub)
    hub.hold = (1000, threading.Event())
    first = spawn(store, hub)
    assert hub.holding.acquire(timeout=120)
    refused(run(lock_timeout=0), "locked", str(holder(store)), "lock_timeout")
    pause = time.sleep

    def wait(seconds):  # the second run has seen the lock and waits: let the first go on
        hub.hold[1].set()
        pause(seconds)

    monkeypatch.setattr(time, "sleep", wait)
    assert run()["changed"] is False
    assert json.loads(first.communicate(timeout=120)[0])["changed"] is True
    assert len(hub.downloads()) == 2
    assert snapshots(store) == [commit]


def test_how_far_it_is_is_told_while_it_fetches(hub, run, store, tmp_path):
    model(hub)
    hub.hold = (120_000, threading.Event())
    aside = tmp_path / "run" / "a.json"
    process = spawn(store, hub, transfers=1, progress_file=str(aside))
    assert hub.holding.acquire(timeout=120)
    path, pause = store / "lab--model" / "progress.json", threading.Event()
    while json.loads(path.read_text())["bytes"] != 120_000:
        assert process.poll() is None
        pause.wait(0.05)
    found = json.loads(path.read_text())
    assert (found["repo"], found["phase"], found["total"]) == ("lab/model", "fetching", 400_000)
    while (told := json.loads(aside.read_text()))["done"] != 120_000:
        pause.wait(0.05)
    assert (told["what"], told["total"]) == ("fetching weights", 400_000)
    hub.hold[1].set()
    assert json.loads(process.communicate(timeout=120)[0])["changed"] is True
    final = json.loads(path.read_text())
    assert (final["phase"], final["bytes"], final["seconds_left"]) == ("published", 400_000, 0)
    assert not aside.exists()
    model(hub, seeds=(1, 9))
    hub.wrong = dict.fromkeys(hub.objects, b"other")
    assert run()["failed"] is True
    assert json.loads(path.read_text())["phase"] == "failed"


def test_two_repositories_at_once(hub, run, store):
    model(hub)
    model(hub, "lab/other", seeds=(1, 5))
    hub.hold = (1000, threading.Event())
    first, second = spawn(store, hub), spawn(store, hub, repo="lab/other")
    assert all(hub.holding.acquire(timeout=120) for _download in range(4))
    hub.hold[1].set()
    results = [json.loads(process.communicate(timeout=120)[0]) for process in (first, second)]
    assert [result.get("changed") for result in results] == [True, True], results


def altered_in_place(path, store):
    os.chmod(path, 0o644)
    path.write_bytes(weights(9))


def cut_short(path, store):
    os.chmod(path, 0o644)
    with path.open("r+b") as stream:
        stream.truncate(10)


def replaced(path, store):
    os.chmod(path.parent, 0o755)
    path.unlink()
    path.write_bytes(weights(9))


def added(path, store):
    os.chmod(path.parent, 0o755)
    (path.parent / "extra.py").write_bytes(b"")


@pytest.mark.parametrize(("alter", "fetched"), [(altered_in_place, 1), (cut_short, 1), (replaced, 0), (added, 0)])
def test_an_altered_snapshot_is_made_anew(hub, run, store, alter, fetched):
    commit = model(hub)
    path = Path(run()["path"])
    alter(path / "model-00001-of-00002.safetensors", store)
    foreseen = run(check=True, revision=commit)
    assert foreseen["changed"] is True
    result = run(revision=commit)
    assert result["changed"] is True
    assert result["bytes_fetched"] == fetched * 200_000
    assert any("was altered" in str(warning) for warning in result["warnings"])
    assert (path / "model-00001-of-00002.safetensors").read_bytes() == weights(1)
    assert snapshots(store) == [commit]
    assert run(revision=commit)["changed"] is False


def test_a_file_that_was_only_touched_is_read_again_and_not_fetched(hub, run):
    commit = model(hub)
    path = Path(run()["path"])
    os.utime(path / "model-00001-of-00002.safetensors")
    result = run(revision=commit, endpoint="http://127.0.0.1:1")
    assert result["bytes_fetched"] == 0
    assert run(revision=commit)["changed"] is False


def test_an_object_of_unknown_origin_is_not_trusted(hub, run, store):
    model(hub)
    oid = min(hub.objects)
    path = store / "objects" / oid[:2] / oid[2:4] / oid
    path.parent.mkdir(parents=True)
    path.write_bytes(weights(9))
    result = run()
    assert result["bytes_fetched"] == 400_000
    assert path.read_bytes() == hub.objects[oid]


def test_without_hard_links(hub, run, monkeypatch):
    model(hub)

    def link(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    result = run()
    assert any("want of hard links" in str(warning) for warning in result["warnings"])
    assert run()["changed"] is False


def test_without_hard_links_the_copies_need_space_as_well(hub, run, store, monkeypatch):
    model(hub)
    monkeypatch.setattr(lfs_snapshot._links, "shares", lambda _directory: False)
    refused(run(reserve_bytes=2**50), "disk_too_small", "for copies, for want of hard links")
    assert hub.downloads() == []
    assert not store.exists()


def test_a_file_system_that_cannot_hold_weights_is_refused_before_the_download(hub, run, store, monkeypatch):
    model(hub)

    def symlink(*_args, **_more):
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr(os, "symlink", symlink)
        refused(run(), "file_system_unfit", "symbolic links", str(store))
    assert hub.downloads() == []
    assert not store.exists()
    assert run()["changed"] is True


def test_config_kept_in_lfs(hub, run):
    model(hub, extra={".gitattributes": ATTRIBUTES + b"*.json filter=lfs\n", "config.json": hub.lfs(CONFIG)})
    result = run()
    assert result["checkpoint"]["architecture"] == "LlamaForCausalLM"
    assert result["bytes_fetched"] == 400_000 + len(CONFIG)


def test_the_repository_cannot_send_git_lfs_elsewhere(hub, run):
    model(hub, extra={".lfsconfig": f"[lfs]\n\turl = {hub.storage}/evil\n".encode()})
    assert run()["changed"] is True
    assert not [path for _port, _method, path, *_rest in hub.requests if "evil" in path]


@pytest.mark.parametrize("redirect", [False, True])
def test_the_token_goes_to_the_hub_only(hub, run, redirect):
    model(hub)
    hub.gated.add("lab/model")
    hub.redirect = redirect
    result = run(token=READER)
    if redirect:  # git-lfs then looks for a login of the other host, and must not find the hub's
        refused(result, "storage_login", hub.storage[len("http://") :])
    else:
        assert result["changed"] is True
        assert "storage" in {port for port, *_rest in hub.requests}
    assert {port for port, _method, _path, auth, _range in hub.requests if auth} == {"hub"}


def test_the_token_is_nowhere(hub, run, store, tmp_path):
    model(hub)
    hub.gated.add("lab/model")
    hub.hold = (1000, threading.Event())
    env = {"GIT_TRACE": str(tmp_path / "trace"), "GIT_TRACE_CURL": str(tmp_path / "trace"), "GIT_CURL_VERBOSE": "1"}
    process = spawn(store, hub, env, token=READER)
    assert hub.holding.acquire(timeout=120)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert any(b"git-lfs" in line for line in lines)
    assert not [line for line in lines if READER.encode() in line]
    hub.hold[1].set()
    out = process.communicate(timeout=120)[0]
    assert json.loads(out)["changed"] is True
    refusal = json.dumps(run(repo="lab/nowhere", token=READER))
    assert READER not in out.decode() + refusal
    assert not (tmp_path / "trace").exists()
    found = subprocess.run(
        ["grep", "-rlE", f"{READER}|aGZfdXNlcj", str(store), str(tmp_path / "hub")], stdout=subprocess.PIPE
    )
    assert found.stdout == b""


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"repo": "model"}, "repo_invalid"),
        ({"repo": "lab/../etc"}, "repo_invalid"),
        ({"repo": "lab--x/y"}, "repo_invalid"),
        ({"revision": "--upload-pack=x"}, "revision_invalid"),
        ({"endpoint": "ssh://hub"}, "endpoint_invalid"),
        ({"endpoint": "https://user:secret@hub"}, "endpoint_invalid"),
        ({"token": "hf_x\n"}, "token_malformed"),
        ({"token": "hf_x", "endpoint": "http://hub.example.org"}, "token_unencrypted"),
    ],
)
def test_what_cannot_be_asked_for(hub, run, store, params, code):
    assert "secret" not in refused(run(**params), code)
    assert hub.requests == []
    assert not store.exists()


def test_one_that_is_not_waited_for_is_published_all_the_same(hub, store, tmp_path):
    commit, place = model(hub), str(tmp_path / "transfers")
    begun = result_of(spawn(store, hub, wait=False, transfers_dir=place))
    assert begun["changed"] is True
    assert begun["commit"] == commit
    assert begun["manifest_sha256"] is None
    heard = ended(place, begun["transfer"])
    assert heard["problems"] == []
    assert (heard["phase"], heard["bytes"], heard["total"]) == ("published", 400_000, 400_000)
    found = result_of(spawn(store, hub, wait=False, transfers_dir=place))
    assert found["changed"] is False
    assert "transfer" not in found


def test_one_that_is_not_waited_for_keeps_its_cause(hub, store, tmp_path):
    model(hub, without=("config.json",))
    place = str(tmp_path / "transfers")
    begun = result_of(spawn(store, hub, wait=False, transfers_dir=place))
    assert "config.json" in json.dumps(ended(place, begun["transfer"])["problems"])
