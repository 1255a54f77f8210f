# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Bundles from one host to another, and those that are not what they should be."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import tarfile

import parcels
import pytest
from ansible.module_utils import basic
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _bundle, _bundle_unpack
from ansible_collections.llmops.nim.plugins.modules import (
    nim_bundle_info,
    nim_bundle_pack,
    nim_bundle_unpack,
    weights_import,
)

IMAGE, ENGINE = "nvcr.io/nim/meta/llama:1.8.4", "capitals-0a1b2c3d4e5f"
DIGEST = "sha256:" + "d" * 64
MODEL = {"name": "capitals", "image": IMAGE, "weights": {"repo": parcels.REPO, "revision": "main"}}
WISHES = {"images": [IMAGE], "weights": [MODEL["weights"]]}
# Images are files by their ids in the directory that the script stands in.
DOCKER = """#!{python}
import json, os, shutil, sys, tarfile
home, words = os.path.dirname(os.path.abspath(__file__)), sys.argv[1:]
if words[0] == "info":
    print(home)
elif words[1] == "inspect":
    for name in words[4:]:
        identity = name if name.startswith("sha256:") else open(os.path.join(home, "tag")).read()
        if os.path.exists(os.path.join(home, identity)):
            print(json.dumps({{"Id": identity, "Architecture": "{machine}", "Size": 1000}}))
elif words[1] == "save":
    with open(os.path.join(home, words[2]), "rb") as image:
        shutil.copyfileobj(image, sys.stdout.buffer)
elif words[1] == "load":
    name = json.load(tarfile.open(words[4]).extractfile("manifest.json"))[0]["Config"]
    shutil.copy(words[4], os.path.join(home, "sha256:" + name.replace(".json", "")))
"""
MACHINE = _bundle_unpack.ARCHITECTURES.get(os.uname().machine, os.uname().machine)


def image(config=b'{"architecture": "amd64"}', name=None):
    """An image as docker save writes it, and its id."""
    digest = hashlib.sha256(config).hexdigest()
    name = name or f"{digest}.json"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, data in ((name, config), ("manifest.json", json.dumps([{"Config": name, "Layers": []}]).encode())):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue(), f"sha256:{digest}"


def docker(home, tagged=None):
    """A docker command (path) in home (Path), which has the image that is tagged, if any."""
    home.mkdir()
    (home / "docker").write_text(DOCKER.format(python=sys.executable, machine=MACHINE))
    (home / "docker").chmod(0o755)
    if tagged:
        content, identity = tagged
        (home / identity).write_bytes(content)
        (home / "tag").write_text(identity)
    return str(home / "docker")


@pytest.fixture
def call(monkeypatch, capsys):
    """Run one of the modules in this process; its result (dict)."""

    def run(module, check=False, **params):
        load = json.dumps({"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check)}, default=str).encode()
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


def fill_cache(home):
    """A cache as NIM leaves it: a link into its blobs, the engine, and one of an older release."""
    cache = home / "capitals/cache"
    for name in (ENGINE, "capitals-older"):
        (cache / "local_cache" / name / "trtllm_engine").mkdir(parents=True)
        (cache / "local_cache" / name / "trtllm_engine/rank0.engine").write_text(name)
    (cache / "ngc/hub/blobs").mkdir(parents=True)
    (cache / "ngc/hub/blobs/abc").write_text("{}")
    (cache / "ngc/hub/snapshots/1").mkdir(parents=True)
    (cache / "ngc/hub/snapshots/1/config.json").symlink_to("../../blobs/abc")
    return cache


@pytest.fixture
def packer(call, tmp_path):
    """A host that has the weights and a filled cache; packs into tmp_path/bundle."""
    host = tmp_path / "packer"
    host.mkdir()
    files = parcels.model()
    document = parcels.write(tmp_path / "parcel", files)
    store = {"repo": parcels.REPO, "commit": parcels.COMMIT, "weights_dir": host / "weights", "reserve_bytes": 0}
    call(weights_import, directory=tmp_path / "parcel", manifest_sha256=document["digest"], **store)
    fill_cache(host)
    wish = {
        "name": "capitals",
        "image": {
            "reference": IMAGE,
            "pinned": f"nvcr.io/nim/meta/llama@{DIGEST}",
            "digest": DIGEST,
            "bytes": 500,
            "nim_version": "1.8.4",
            "nim_model": "meta/llama",
        },
        "weights": dict(MODEL["weights"], commit=parcels.COMMIT, snapshot=parcels.COMMIT),
        "checkpoint": {"precision": "bf16"},
        "engine": ENGINE,
    }
    places = {"directory": tmp_path / "bundle", "weights_dir": host / "weights", "home": host, "reserve_bytes": 0}

    def pack(tagged=None, **params):
        command = docker(tmp_path / f"docker-{len(list(tmp_path.iterdir()))}", tagged or image())
        return call(nim_bundle_pack, **{**places, "models": [wish], "docker": command, **params})

    return pack


@pytest.fixture
def bundle(packer, tmp_path):
    assert packer()["changed"]
    return tmp_path / "bundle"


@pytest.fixture
def look(call, bundle):
    return lambda **params: call(nim_bundle_info, **{"directory": bundle, **WISHES, **params})


@pytest.fixture
def server(call, bundle, tmp_path):
    """A bare host to which all of the bundle was copied; takes it in."""
    host = tmp_path / "server"
    (host / "capitals/cache").mkdir(parents=True)
    command = docker(host / "docker")
    places = {"directory": bundle, "weights_dir": host / "weights", "home": host, "docker": command, "reserve_bytes": 0}

    def take(check=False, **params):
        manifest = json.loads((bundle / "bundle.json").read_text())
        return call(nim_bundle_unpack, check, **{**places, "manifest": manifest, "models": [MODEL], **params})

    return take


def refused(result, code, *words):
    assert result.get("failed"), result
    assert code in [problem["code"] for problem in result["problems"]], result["msg"]
    assert all(problem["what"] and problem["evidence"] and problem["remedy"] for problem in result["problems"])
    for word in words:
        assert word in result["msg"]


def rewrite(bundle, change):
    """Have a manifest that says something else, and fits itself."""
    document = json.loads((bundle / "bundle.json").read_text())
    change(document)
    document["digest"] = _bundle.digest(document)
    (bundle / "bundle.json").write_text(json.dumps(document))


# --- from one host to another ---


def test_what_was_packed_is_what_wishes_mean(look):
    found = look(deep=True)
    one = found["images"][IMAGE]
    assert (one["pinned"], one["digest"], one["nim_version"]) == (image()[1], DIGEST, "1.8.4")
    assert one["engines"] == [ENGINE]
    assert found["commits"] == {f"{parcels.REPO}@main": parcels.COMMIT}
    assert found["snapshots"] == [f"{parcels.REPO}@{parcels.COMMIT}"]
    assert found["checkpoints"][f"{parcels.REPO}@main"] == {"precision": "bf16"}


def test_a_commit_is_found_whatever_it_was_called(look):
    wish = {"repo": parcels.REPO, "revision": parcels.COMMIT}
    assert look(weights=[wish])["commits"] == {f"{parcels.REPO}@{parcels.COMMIT}": parcels.COMMIT}


def test_it_reaches_another_host(server, call, bundle, tmp_path):
    lacking = server(check=True)
    assert lacking["images"] == [image()[1]]
    assert not (tmp_path / "server/weights").exists()
    store = {"weights_dir": tmp_path / "server/weights", "reserve_bytes": 0}
    where = bundle / _bundle.parcel_directory(parcels.REPO, parcels.COMMIT)
    taken = call(weights_import, directory=where, repo=parcels.REPO, commit=parcels.COMMIT, **store)
    assert taken["changed"], taken
    assert server()["changed"]
    cache = tmp_path / "server/capitals/cache"
    assert (cache / "ngc/hub/snapshots/1/config.json").read_text() == "{}"
    assert os.readlink(cache / "ngc/hub/snapshots/1/config.json") == "../../blobs/abc"
    assert [path.name for path in (cache / "local_cache").iterdir()] == [ENGINE]
    again = server()
    assert (again["changed"], again["missing"]) == (False, [])


def test_only_what_is_lacking_has_to_come(server, bundle):
    everything = json.loads((bundle / "bundle.json").read_text())["files"]
    here = server(check=True)["missing"]
    assert here == []  # the bundle lies here whole
    elsewhere = server(check=True, directory=str(bundle.parent / "nowhere"))
    assert set(elsewhere["missing"]) == set(everything)


def test_a_cache_keeps_what_it_has(server, tmp_path):
    mine = tmp_path / "server/capitals/cache/ngc/hub/blobs/abc"
    mine.parent.mkdir(parents=True)
    mine.write_text("newer")
    server()
    assert mine.read_text() == "newer"


def test_a_cache_of_another_image_stays_away(server, bundle, tmp_path):
    rewrite(bundle, lambda document: document["caches"]["capitals"].update(image="sha256:" + "e" * 64))
    assert server()["caches"] == []
    assert not list((tmp_path / "server/capitals/cache").iterdir())


def test_archives_are_for_nobody_else(bundle):
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in bundle.rglob("*.tar"))


def test_packing_again_replaces_the_bundle(packer, bundle):
    (bundle / "images/old.tar").write_text("")
    assert packer()["changed"]
    assert not (bundle / "images/old.tar").exists()


# --- what cannot be packed ---


def test_a_directory_of_somebody_else_is_left_alone(packer, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/thesis.tex").write_text("")
    refused(packer(), "directory_in_use", "thesis.tex")
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["thesis.tex"]


def test_an_image_that_is_known_by_another_name_is_refused(packer, tmp_path):
    content, _identity = image()
    refused(packer((content, "sha256:" + "a" * 64)), "image_id_unknown")
    assert not (tmp_path / "bundle/bundle.json").exists()


def test_a_link_out_of_the_cache_is_refused(packer, tmp_path):
    (tmp_path / "packer/capitals/cache/leak").symlink_to("/etc/shadow")
    refused(packer(), "cache_refused", "/etc/shadow")


def test_no_room_is_said_before_anything_is_written(packer, tmp_path):
    refused(packer(reserve_bytes=2**60), "disk_too_small")
    assert not (tmp_path / "bundle").exists()


# --- what is no good ---


def test_a_folder_without_a_manifest_is_refused(look, bundle):
    (bundle / "bundle.json").unlink()
    refused(look(), "bundle_missing", "bundle.json is no file")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 2, "digest": "x"}'])
def test_a_manifest_that_is_none_is_refused(look, bundle, content):
    (bundle / "bundle.json").write_text(content)
    refused(look(), "bundle_invalid")


def test_an_altered_manifest_is_refused(look, bundle):
    path = bundle / "bundle.json"
    path.write_text(path.read_text().replace("bf16", "fp16"))
    refused(look(), "bundle_invalid", "its digest is not that of what it says")


def test_a_manifest_that_fits_itself_is_refused_by_the_digest_that_was_told(look, bundle):
    told = json.loads((bundle / "bundle.json").read_text())["digest"]
    assert "failed" not in look(digest=told)
    rewrite(bundle, lambda document: document["weights"][f"{parcels.REPO}@main"].update(checkpoint={}))
    refused(look(digest=told), "bundle_invalid", told)


def test_a_missing_file_is_named(look, bundle):
    path = next((bundle / "images").iterdir())
    path.unlink()
    refused(look(), "bundle_missing", path.name)


def test_a_single_altered_byte_is_found(look, server, bundle):
    path = next((bundle / "caches").iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "failed" not in look()
    refused(look(deep=True), "bundle_altered", path.name)
    refused(server(), "bundle_altered", path.name)


def test_what_it_does_not_hold_is_named_at_once(look):
    other = look(images=["nvcr.io/other:1"], weights=[{"repo": "o/m", "revision": "v2"}])
    refused(other, "bundle_other", "nvcr.io/other:1", "o/m@v2", IMAGE, f"{parcels.REPO}@main")


def test_other_patterns_are_another_snapshot(look):
    refused(look(exclude=["*.py"]), "bundle_selection")


def test_another_architecture_is_refused(server, bundle, tmp_path):
    rewrite(bundle, lambda document: document["images"][IMAGE].update(architecture="s390x"))
    refused(server(check=True), "image_architecture", "s390x", MACHINE)
    assert not list((tmp_path / "server/docker").glob("sha256:*"))


def test_a_server_without_room_is_refused(server):
    refused(server(check=True, reserve_bytes=2**60), "disk_too_small")


def test_another_image_under_a_good_name_is_refused(server, bundle, tmp_path):
    """The manifest fits its files, and yet the archive holds another image than it says."""
    content, _identity = image(b'{"architecture": "evil"}')
    path = next((bundle / "images").iterdir())
    path.write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    rewrite(bundle, lambda document: document["files"].update({f"images/{path.name}": entry}))
    refused(server(), "bundle_invalid", "another image")
    assert not list((tmp_path / "server/docker").glob("sha256:*"))


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("../out", tarfile.REGTYPE, ""),
        ("/etc/out", tarfile.REGTYPE, ""),
        ("in/../../out", tarfile.REGTYPE, ""),
        ("link", tarfile.SYMTYPE, "/etc"),
        ("link", tarfile.SYMTYPE, "../../etc"),
        ("hard", tarfile.LNKTYPE, "/etc/shadow"),
        ("device", tarfile.CHRTYPE, ""),
        ("fifo", tarfile.FIFOTYPE, ""),
    ],
)
def test_a_cache_that_reaches_out_is_refused(server, bundle, tmp_path, name, kind, target):
    path = next((bundle / "caches").iterdir())
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)
    entry = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    rewrite(bundle, lambda document: document["files"].update({"caches/capitals.tar": entry}))
    refused(server(), "cache_archive_refused")
    assert not list((tmp_path / "server/capitals/cache").iterdir())
    assert not list((tmp_path / "server/docker").glob("sha256:*"))


def test_a_file_beneath_a_link_is_refused(server, bundle, tmp_path):
    path = next((bundle / "caches").iterdir())
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "b"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("a/file"))
    entry = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
    rewrite(bundle, lambda document: document["files"].update({"caches/capitals.tar": entry}))
    refused(server(), "cache_archive_refused", "beneath a link")


@pytest.mark.parametrize(
    "place", ["../../etc/passwd", "/etc/passwd", "weights/x/../../y", "images/x.tar", "bundle.json"]
)
def test_a_file_has_its_place_in_a_bundle(place):
    document = _bundle.manifest({}, {}, {}, {place: {"size": 1, "sha256": "a" * 64}})
    assert "is no place in a bundle" in _bundle.fault(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.fixed_dictionaries({part: JSON | st.dictionaries(st.text(max_size=5), JSON) for part in _bundle._SHAPES}))
def test_no_manifest_of_unknown_origin_makes_it_stumble(parts):
    document = dict(parts, format=1)
    document["digest"] = _bundle.digest(document)
    fault = _bundle.fault(document)
    assert isinstance(fault, str)
    assert fault or not any(parts.values())


@pytest.mark.parametrize("module", [nim_bundle_info, nim_bundle_pack, nim_bundle_unpack], ids=lambda one: one.__name__)
def test_documented_options_are_those_of_the_module(module):
    yaml = pytest.importorskip("yaml")
    documented = set(yaml.safe_load(module.DOCUMENTATION)["options"])
    assert documented | {"include", "exclude", "models"} == set(module.ARGUMENT_SPEC) | {"include", "exclude", "models"}
