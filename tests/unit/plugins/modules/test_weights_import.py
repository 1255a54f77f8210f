# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""weights_import and weights_export: a snapshot on its way from one host to another, and parcels that are not one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import parcels
import pytest
from ansible.module_utils import basic
from parcels import COMMIT, REPO

from ansible_collections.llmops.nim.plugins.module_utils import _links, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._selection import Selection
from ansible_collections.llmops.nim.plugins.modules import weights_export, weights_import


@pytest.fixture
def call(monkeypatch, capsys):
    """Run one of the two modules in this process; its result (dict)."""

    def run(module, check=False, **params):
        params = {"repo": REPO, "commit": COMMIT, "reserve_bytes": 0, **params, "_ansible_check_mode": check}
        load = f'{{"ANSIBLE_MODULE_ARGS": {json.dumps(params, default=str)}}}'.encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", load)
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")
        capsys.readouterr()
        umask = os.umask(0o022)
        try:
            with pytest.raises(SystemExit):
                module.main()
        finally:
            os.umask(umask)
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def take(call, tmp_path):
    """Import the parcel in tmp_path/parcel into tmp_path/weights; the result (dict)."""
    places = {"directory": tmp_path / "parcel", "weights_dir": tmp_path / "weights"}
    return lambda **params: call(weights_import, **{**places, **params})


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def tree(path):
    """All there is beneath path (sorted list of str)."""
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*")) if path.exists() else []


def refused(result, code, *words):
    assert result.get("failed"), result
    assert code in [problem["code"] for problem in result["problems"]], result["msg"]
    assert all(problem["what"] and problem["remedy"] for problem in result["problems"])
    for word in words:
        assert word in result["msg"]


def test_a_parcel_is_proven_and_published(take, tmp_path):
    files = parcels.model(extra={"sub dir/-note.txt": b"note", "twin.txt": b"note"})
    document = parcels.write(tmp_path / "parcel", files)
    result = take(manifest_sha256=document["digest"])
    assert result["changed"] is True
    assert result["manifest_sha256"] == document["digest"]
    assert result["bytes_fetched"] == 10_000
    assert result["missing"] == []
    assert result["checkpoint"]["architecture"] == "LlamaForCausalLM"
    path = Path(result["path"])
    assert {name: (path / name).read_bytes() for name in files} == files
    assert (path / "model-00001-of-00002.safetensors").stat().st_nlink == 3  # store, snapshot, parcel: one copy
    assert _snapshot.altered(str(path), document["files"]) == []
    assert take()["changed"] is False
    shutil.rmtree(tmp_path / "parcel")
    assert take()["changed"] is False  # what is there needs no parcel


def test_a_parcel_may_be_used_up(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    assert take(move=True)["changed"] is True
    assert not (tmp_path / "parcel").exists()
    assert take(move=True)["changed"] is False


def test_what_the_store_has_need_not_come(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    take(move=True)
    files = parcels.model(seeds=(1, 3))
    parcels.write(tmp_path / "parcel", files, parcels.manifest(files, "d" * 40))
    os.remove(tmp_path / "parcel" / "files" / sha256(parcels.weights(1)))
    result = take(commit="d" * 40)
    assert result["changed"] is True
    assert result["bytes_fetched"] == 5000


def test_check_mode_tells_what_has_yet_to_come(take, tmp_path):
    document = parcels.write(tmp_path / "parcel", parcels.model())
    shutil.rmtree(tmp_path / "parcel" / "files")
    result = take(check=True)
    assert result["changed"] is True
    wanted = {file["sha256"]: file["size"] for file in document["files"]}
    assert result["missing"] == [{"sha256": one, "size": wanted[one]} for one in sorted(wanted)]
    assert not (tmp_path / "weights").exists()


def test_what_is_wrong_is_told_at_once_and_nothing_is_left(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    files = tmp_path / "parcel" / "files"
    altered, lost = sha256(parcels.weights(1)), sha256(parcels.weights(2))
    (files / altered).write_bytes(parcels.weights(9))
    (files / lost).unlink()
    (files / "extra").write_bytes(b"")
    result = take()
    refused(result, "parcel_altered", "model-00001-of-00002.safetensors")
    refused(result, "parcel_incomplete", "model-00002-of-00002.safetensors")
    refused(result, "parcel_unexpected", "files/extra")
    assert result["missing"] == sorted(
        [{"sha256": one, "size": 5000} for one in (altered, lost)], key=lambda one: one["sha256"]
    )
    assert tree(tmp_path / "weights") == []


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json"])
@pytest.mark.parametrize("how", ["link", "directory", "fifo", "short"])
def test_a_file_that_is_no_plain_one_is_refused(take, tmp_path, name, how):
    files = parcels.model()
    parcels.write(tmp_path / "parcel", files)
    path = tmp_path / "parcel" / "files" / sha256(files[name])
    path.rename(tmp_path / "elsewhere")
    if how == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "directory":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(files[name][:-1])
    refused(take(), "parcel_incomplete", name)
    assert tree(tmp_path / "weights") == []


def test_a_linked_directory_of_files_is_refused(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    (tmp_path / "parcel" / "files").rename(tmp_path / "elsewhere")
    (tmp_path / "parcel" / "files").symlink_to(tmp_path / "elsewhere")
    refused(take(), "parcel_unexpected", "parcel/files")
    assert tree(tmp_path / "weights") == []


def forged(change):
    """The manifest of a model after change(document), with the digest that is right for it."""
    document = parcels.manifest(parcels.model())
    change(document)
    document["digest"] = _snapshot.digest(document["files"])
    return document


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/../../evil", "a//b", ".git/config", "a\nb", "a\\b", "\ud800", ""]
)
def test_a_path_that_leads_out_is_refused(take, tmp_path, path):
    document = parcels.manifest(parcels.model())
    document["files"][0]["path"] = path
    if path != "\ud800":
        document["digest"] = _snapshot.digest(document["files"])
    parcels.write(tmp_path / "parcel", parcels.model(), document)
    refused(take(), "parcel_invalid", "it has a ")
    assert tree(tmp_path / "weights") == []


def rename(document, path):
    document["files"][0]["path"] = path


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda document: document.update(commit="d" * 40), "wanted is"),
        (lambda document: document.update(repo="lab/other"), "wanted is"),
        (lambda document: document["files"].append(document["files"][0]), "contradicts"),
        (lambda document: document["files"][0].update(size=-1), "no size"),
        (lambda document: document["files"][0].update(size=True), "no size"),
        (lambda document: document["files"][0].update(sha256="../" + "a" * 61), "no sha256"),
        (lambda document: document["files"][0].pop("lfs"), "no file"),
        (lambda document: rename(document, "tokenizer.json/x"), "directory"),
        (lambda document: document.update(bytes_total=1), "digest"),
        (lambda document: document.pop("checkpoint"), "no manifest"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(take, tmp_path, change, word):
    parcels.write(tmp_path / "parcel", parcels.model(), forged(change))
    refused(take(), "parcel_invalid", word)
    assert tree(tmp_path / "weights") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"files": [1]}'])
def test_what_is_no_manifest_is_refused(take, tmp_path, text):
    parcels.write(tmp_path / "parcel", parcels.model())
    (tmp_path / "parcel" / "manifest.json").write_text(text)
    refused(take(), "parcel_invalid")


def test_another_digest_than_the_one_that_is_known_is_refused(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model(seeds=(3, 4)))
    refused(take(manifest_sha256="0" * 64), "parcel_invalid", "wanted is 0000")
    take()
    refused(take(manifest_sha256="0" * 64), "snapshot_differs")


def test_a_parcel_by_other_patterns_is_refused(take, call, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    refused(take(include=["**"]), "parcel_invalid", "other patterns")
    document = parcels.manifest(parcels.model())
    document["selection"] = Selection(["**"]).as_dict()
    parcels.write(tmp_path / "other", parcels.model(), document)
    result = take(include=["**"], directory=tmp_path / "other")
    assert Path(result["path"]).name == COMMIT + Selection(["**"]).suffix
    places = {"directory": tmp_path / "third", "weights_dir": tmp_path / "weights"}
    refused(call(weights_export, **places), "snapshot_missing")
    assert call(weights_export, include=["**"], **places)["changed"] is True


def test_a_link_in_the_place_of_the_manifest_is_refused(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    (tmp_path / "parcel" / "manifest.json").rename(tmp_path / "m")
    refused(take(), "parcel_missing")
    (tmp_path / "parcel" / "manifest.json").symlink_to(tmp_path / "m")
    refused(take(), "parcel_missing")


def test_a_checkpoint_that_cannot_be_served_is_refused(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model(without=("tokenizer.json",)))
    refused(take(), "no_tokenizer")
    assert tree(tmp_path / "weights") == []


def test_a_disk_that_is_too_small_is_told_beforehand(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    refused(take(reserve_bytes=2**60), "disk_too_small")
    assert tree(tmp_path / "weights") == []


def test_without_hard_links_the_parcel_is_copied(take, tmp_path, monkeypatch):
    parcels.write(tmp_path / "parcel", parcels.model())

    def refuse(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(_links, "_share", lambda source, target: False)
    result = take()
    assert result["changed"] is True
    assert "Copied, for want of hard links" in str(result["warnings"])
    assert tree(tmp_path / "weights" / "lab--model") == sorted(
        [COMMIT, f"{COMMIT}.manifest.json", "lock", *(f"{COMMIT}/{path}" for path in parcels.model())]
    )
    assert take()["changed"] is False


def test_what_others_could_write_to_is_not_linked(take, tmp_path, monkeypatch):
    parcels.write(tmp_path / "parcel", parcels.model())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    path = Path(take()["path"])
    assert (path / "model-00001-of-00002.safetensors").stat().st_nlink == 2


def test_an_altered_snapshot_is_mended_from_a_parcel(take, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    path = Path(take(move=True)["path"])
    shard = path / "model-00001-of-00002.safetensors"
    shard.chmod(0o644)
    shard.write_bytes(b"altered")
    parcels.write(tmp_path / "parcel", parcels.model())
    result = take()
    assert result["changed"] is True
    assert "was altered" in str(result["warnings"])
    assert shard.read_bytes() == parcels.weights(1)


def test_an_exported_snapshot_is_a_parcel(take, call, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    digest = take(move=True)["manifest_sha256"]
    places = {"directory": tmp_path / "new" / "parcel", "weights_dir": tmp_path / "weights"}
    assert call(weights_export, check=True, **places)["changed"] is True
    assert not (tmp_path / "new").exists()
    result = call(weights_export, deep=True, **places)
    assert result["changed"] is True
    assert result["manifest_sha256"] == digest
    assert result["copied"] == []
    assert result["files"] == 5  # tokenizer.json and tokenizer_config.json are the same
    assert call(weights_export, **places)["changed"] is False
    received = take(directory=places["directory"], weights_dir=tmp_path / "other", manifest_sha256=digest)
    assert received["manifest_sha256"] == digest
    lost = next((places["directory"] / "files").iterdir())
    lost.unlink()
    stale = places["directory"] / "files" / ("0" * 64)
    stale.write_bytes(b"of an older parcel")
    assert call(weights_export, **places)["changed"] is True
    assert lost.exists()
    assert not stale.exists()
    stale.write_bytes(b"of an older parcel")
    assert call(weights_export, **places)["changed"] is True
    assert call(weights_export, **places)["changed"] is False


def test_a_snapshot_that_is_not_whole_is_not_exported(take, call, tmp_path):
    places = {"directory": tmp_path / "new", "weights_dir": tmp_path / "weights"}
    refused(call(weights_export, **places), "snapshot_missing")
    parcels.write(tmp_path / "parcel", parcels.model())
    shard = Path(take()["path"]) / "model-00001-of-00002.safetensors"
    status = shard.stat()
    shard.chmod(0o644)
    shard.write_bytes(parcels.weights(9))
    refused(call(weights_export, **places), "snapshot_altered", shard.name)
    shard.chmod(0o444)
    os.utime(shard, ns=(status.st_mtime_ns, status.st_mtime_ns))  # as somebody would who hides it
    assert call(weights_export, check=True, **places)["changed"] is True
    refused(call(weights_export, deep=True, **places), "snapshot_altered", shard.name)
    assert not (tmp_path / "new").exists()


def test_a_directory_with_something_else_is_left_alone(take, call, tmp_path):
    parcels.write(tmp_path / "parcel", parcels.model())
    take()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "precious").write_text("x")
    places = {"directory": tmp_path / "new", "weights_dir": tmp_path / "weights"}
    refused(call(weights_export, **places), "directory_in_use", "precious")
    assert (tmp_path / "new" / "precious").exists()


def test_an_export_is_refused_where_the_commit_is_none(call, tmp_path):
    refused(call(weights_export, commit="main", directory=tmp_path / "p"), "commit_invalid")
    refused(call(weights_import, repo="..", directory=tmp_path / "p"), "repo_invalid")
