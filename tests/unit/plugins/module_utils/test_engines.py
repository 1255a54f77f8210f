# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import io
import os
import pathlib
import stat
import tarfile
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _engine_archive, _engines
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

NAME = "capitals-0a1b2c3d4e5f"
RANK0 = "trtllm_engine/rank0.engine"


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def fill(cache, files, name=NAME):
    """An engine in the cache; files: dict of path to bytes. Its directory."""
    for path, content in files.items():
        file = cache / "local_cache" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return cache / "local_cache" / name


def tar(path, *members):
    """A tar at path of members (name, and bytes or a type); its sha256."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes) and len(content) != 1:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content, "/etc/passwd"
                archive.addfile(member)
    return digest(path).sha256


def digest(path):
    with open(path, "rb") as stream:
        return _engine_archive.digest(stream)


def pack(cache, path, name=NAME, **options):
    with open(path, "wb") as stream:
        return _engine_archive.pack(str(cache), name, stream, **options)


def unpack(cache, path, sha256, name=NAME, **options):
    with open(path, "rb") as stream:
        members = _engine_archive.check(str(cache), name, stream, sha256, **options)
        return _engine_archive.unpack(str(cache), name, stream, members)


def let_others_through(folder):
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.geteuid() and not one.stat().st_mode & stat.S_IXOTH:
            one.chmod(one.stat().st_mode | 0o011)


def contents(folder):
    """Path -> bytes of each file, None of each directory."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# --- who gets which from whom ---

ENGINES = st.lists(st.sampled_from("abcde"), unique=True)
HOSTS = st.lists(st.tuples(ENGINES, st.lists(st.sampled_from("abcde"))), max_size=6).map(
    lambda hosts: [{"host": f"gpu{number}", "has": has, "wants": wants} for number, (has, wants) in enumerate(hosts)]
)


def test_an_engine_comes_from_the_first_host_that_has_it():
    hosts = [
        {"host": "gpu1", "has": [], "wants": ["a"]},
        {"host": "gpu2", "has": ["a"], "wants": ["a"]},
        {"host": "gpu3", "has": ["a", "b"], "wants": []},
        {"host": "gpu4", "has": [], "wants": ["a"]},
    ]
    assert _engines.to_carry(hosts) == {"a": {"from": "gpu2", "to": ["gpu1", "gpu4"]}}


def test_an_engine_that_nobody_has_comes_from_the_first_that_wants_it():
    hosts = [{"host": name, "has": [], "wants": ["a"]} for name in ("gpu1", "gpu2", "gpu3")]
    assert _engines.to_carry(hosts) == {"a": {"from": "gpu1", "to": ["gpu2", "gpu3"]}}
    assert _engines.to_carry(hosts[:1]) == {}


@given(HOSTS)
def test_who_wants_an_engine_and_lacks_it_gets_it_or_builds_it(hosts):
    carried = _engines.to_carry(hosts)
    for engine in "abcde":
        has = [one["host"] for one in hosts if engine in one["has"]]
        lack = [one["host"] for one in hosts if engine in one["wants"] and engine not in one["has"]]
        way = carried.get(engine)
        if way is None:
            assert not lack or (not has and len(lack) == 1)
        else:
            assert way["from"] == (has or lack)[0]
            assert way["to"] == [host for host in lack if host != way["from"]] != []


# --- packed and unpacked ---

PATHS = st.lists(st.text("ab.é -", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1, max_size=3)
TREES = st.dictionaries(PATHS.map("/".join), st.binary(max_size=2000), max_size=5).filter(
    lambda tree: not any(other.startswith(path + "/") for path in tree for other in tree)
)


@given(TREES)
def test_what_is_unpacked_is_what_was_packed(tree):
    with tempfile.TemporaryDirectory() as folder:
        here, there = pathlib.Path(folder, "here"), pathlib.Path(folder, "there")
        there.mkdir()
        engine = fill(here, {**tree, RANK0: b"engine"})
        (engine / "empty").mkdir(exist_ok=True)
        packed = pack(here, f"{folder}/tar")
        assert packed == digest(f"{folder}/tar")
        assert unpack(there, f"{folder}/tar", packed.sha256) is True
        assert contents(there / "local_cache") == contents(here / "local_cache")
        assert pack(there, f"{folder}/again") == packed


def test_times_owners_and_order_are_not_packed(cache, tmp_path):
    engine = fill(cache, {RANK0: b"0", "a": b"1", "b": b"2"})
    first = pack(cache, tmp_path / "tar")
    os.utime(engine / "a", (1, 1))
    (engine / "a").rename(engine / "c")
    (engine / "c").rename(engine / "a")
    (engine / "b").chmod(0o600)
    assert pack(cache, tmp_path / "tar") == first
    (engine / "b").write_bytes(b"3")
    assert pack(cache, tmp_path / "tar") != first


@given(st.data())
def test_an_archive_that_was_cut_or_altered_is_refused_and_leaves_nothing(data):
    with tempfile.TemporaryDirectory() as folder:
        here, there = pathlib.Path(folder, "here"), pathlib.Path(folder, "there")
        there.mkdir()
        fill(here, {RANK0: b"engine"})
        packed = pack(here, f"{folder}/tar")
        content = bytearray(pathlib.Path(folder, "tar").read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans(), "cut"):
            del content[at:]
        else:
            content[at] ^= data.draw(st.integers(1, 255))
        pathlib.Path(folder, "tar").write_bytes(content)
        with pytest.raises(Problem, match="cut or altered") as caught:
            unpack(there, f"{folder}/tar", packed.sha256)
        assert packed.sha256 in caught.value.evidence
        assert list(there.iterdir()) == []


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("/etc/cron.d/x", b"text"),
        ("../x", b"text"),
        (f"{NAME}/../../x", b"text"),
        (f"{NAME}-other/x", b"text"),
        ("x", b"text"),
        (f"{NAME}/x", tarfile.SYMTYPE),
        (f"{NAME}/x", tarfile.LNKTYPE),
        (f"{NAME}/x", tarfile.CHRTYPE),
        (f"{NAME}/x", tarfile.BLKTYPE),
        (f"{NAME}/x", tarfile.FIFOTYPE),
    ],
)
def test_an_archive_of_anything_but_an_engine_s_files_is_refused_by_name(cache, tmp_path, member, content):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"engine"), (member, content))
    with pytest.raises(Problem) as caught:
        unpack(cache, tmp_path / "tar", sha256)
    assert caught.value.code == "archive_refused"
    assert member in caught.value.evidence
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("members", [(), ((NAME, b"text"),), ((f"{NAME}/{RANK0}", tarfile.DIRTYPE),)])
def test_an_archive_without_an_engine_is_refused(cache, tmp_path, members):
    sha256 = tar(tmp_path / "tar", *members)
    with pytest.raises(Problem, match="something else"):
        unpack(cache, tmp_path / "tar", sha256)


def test_what_is_no_tar_is_refused(cache, tmp_path):
    (tmp_path / "tar").write_bytes(b"text" * 1000)
    with pytest.raises(Problem) as caught:
        unpack(cache, tmp_path / "tar", digest(tmp_path / "tar").sha256)
    assert caught.value.code == "archive_invalid"


def test_a_file_that_is_named_twice_is_not_written_twice(cache, tmp_path):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"one"), (f"{NAME}/{RANK0}", b"two"))
    with pytest.raises(FileExistsError):
        unpack(cache, tmp_path / "tar", sha256)
    assert list((cache / "local_cache").iterdir()) == []


def test_an_engine_that_came_meanwhile_is_kept(cache, tmp_path):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"carried"))
    with open(tmp_path / "tar", "rb") as stream:
        members = _engine_archive.check(str(cache), NAME, stream, sha256)
        fill(cache, {RANK0: b"built"})
        assert _engine_archive.unpack(str(cache), NAME, stream, members) is False
    assert contents(cache / "local_cache") == {NAME: None, f"{NAME}/trtllm_engine": None, f"{NAME}/{RANK0}": b"built"}


@pytest.mark.parametrize("late", [False, True])
def test_a_half_built_engine_is_not_touched(cache, tmp_path, late):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"carried"))
    half = {"trtllm_engine/rank0.engine.tmp": b"half"}
    with open(tmp_path / "tar", "rb") as stream:
        if not late:
            fill(cache, half)
            with pytest.raises(Problem, match="no engine"):
                _engine_archive.check(str(cache), NAME, stream, sha256)
        else:
            members = _engine_archive.check(str(cache), NAME, stream, sha256)
            fill(cache, half)
            with pytest.raises(Problem, match="no engine"):
                _engine_archive.unpack(str(cache), NAME, stream, members)
    assert contents(cache / "local_cache" / NAME) == {"trtllm_engine": None, **half}


def test_what_a_killed_run_left_is_no_engine_and_goes_away(cache, tmp_path):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"engine"))
    fill(cache, {f"{NAME}/{RANK0}": b"eng"}, name=f".partial-{NAME}")
    assert not _engines.is_there(str(cache), f".partial-{NAME}")
    assert unpack(cache, tmp_path / "tar", sha256) is True
    assert os.listdir(cache / "local_cache") == [NAME]


def test_an_engine_is_the_cache_owner_s(cache, tmp_path):
    fill(cache, {RANK0: b"engine"})
    packed = pack(cache, tmp_path / "tar")
    let_others_through(tmp_path)
    there = tmp_path / "there"
    there.mkdir()
    owner = 1234 if os.geteuid() == 0 else os.geteuid()
    os.chown(there, owner, 0 if os.geteuid() == 0 else -1)
    assert unpack(there, tmp_path / "tar", packed.sha256) is True
    for path in there.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (owner, there.stat().st_gid)
        assert stat.S_IMODE(path.stat().st_mode) == (0o770 if path.is_dir() else 0o660)
    assert os.geteuid() != 1234


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_links_in_a_cache_lead_nowhere_that_its_owner_may_not_go(cache, tmp_path):
    sha256 = tar(tmp_path / "tar", (f"{NAME}/{RANK0}", b"engine"))
    (tmp_path / "secret").mkdir(mode=0o700)
    (cache / "local_cache").symlink_to(tmp_path / "secret")
    os.chown(cache, 1234, 0)
    let_others_through(tmp_path)
    with pytest.raises(PermissionError):
        unpack(cache, tmp_path / "tar", sha256)
    assert list((tmp_path / "secret").iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "link to a directory", "pipe"])
def test_an_engine_with_more_than_files_is_not_packed(cache, tmp_path, kind):
    engine = fill(cache, {RANK0: b"engine"})
    if kind == "pipe":
        os.mkfifo(engine / "odd")
    else:
        (engine / "odd").symlink_to("/etc/passwd" if kind == "link" else "/etc")
    with pytest.raises(Problem) as caught:
        pack(cache, tmp_path / "tar")
    assert caught.value.code == "engine_refused"
    assert str(engine / "odd") in caught.value.evidence


def test_an_engine_that_is_being_written_is_not_packed(cache):
    engine = fill(cache, {RANK0: b"engine"})

    class Meanwhile(io.BytesIO):
        name = "tar"

        def fileno(self):
            return 0

        def write(self, data):
            (engine / RANK0).write_bytes(b"more of the engine")
            return super().write(data)

    with pytest.raises(Problem, match="changed while"):
        _engine_archive.pack(str(cache), NAME, Meanwhile())


def test_a_missing_engine_is_said(cache, tmp_path):
    fill(cache, {"trtllm_engine/config.json": b"{}"})
    with pytest.raises(Problem, match="There is no engine"):
        pack(cache, tmp_path / "tar")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/a", "a\0"])
def test_a_name_that_leads_elsewhere_is_refused(cache, name):
    with pytest.raises(Problem, match="no name"):
        _engines.place(str(cache), name)


def test_a_missing_cache_is_said(tmp_path):
    with pytest.raises(Problem, match="no NIM cache"):
        _engines.place(str(tmp_path / "none"), NAME)


def test_a_disk_that_is_too_small_is_said_with_the_arithmetic(cache, tmp_path):
    fill(cache, {RANK0: b"0" * 2**20})
    packed = pack(cache, tmp_path / "tar")
    for full in (
        lambda: pack(cache, tmp_path / "tar2", reserve=2**60),
        lambda: unpack(tmp_path / "there", tmp_path / "tar", packed.sha256, reserve=2**60),
    ):
        (tmp_path / "there").mkdir(exist_ok=True)
        with pytest.raises(Problem) as caught:
            full()
        assert caught.value.code == "disk_too_small"
        assert "1073741824.00 GiB are needed" in caught.value.what
        assert "0.00 GiB of engine and 1073741824.00 GiB to be left free" in caught.value.evidence
    assert list((tmp_path / "there").iterdir()) == []
