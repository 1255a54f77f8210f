# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Random histories of releases on two hosts, against the engine cache of the lab's NIM.

That cache goes by an engine's name alone and serves a stale engine under a name that is reused, as the real one may.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import pathlib
import sys
import tempfile
import types
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _engine_archive, _engines, _release

pytest.importorskip("tomllib", reason="the lab's NIM wants Python 3.11")

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The second is an image that was built again and bears the same version.
IMAGES = {"sha256:" + digit * 64: version for digit, version in zip("abcd", ("1.8.4", "1.8.4", "1.3.3", "1.15.5"))}
GPUS = {"NVIDIA RTX 6000 Ada Generation": "26b1", "NVIDIA H100 80GB HBM3": "2330", "NVIDIA H100 NVL": "2321"}
CONFIG = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 8,
}  # fmt: skip


class Wish(NamedTuple):
    """What is deployed: all that an engine depends on."""

    repo: str = "acme/capitals"
    commit: str = "c" * 40
    image: str = next(iter(IMAGES))
    gpu: str = next(iter(GPUS))
    gpu_count: int = 1
    length: int = 0  # 0: not set
    share: float | None = None
    profile: str = "auto"


class Step(NamedTuple):
    """Deploy wish on a host, after an engine that another host has was carried there, if carry."""

    wish: Wish
    host: int = 0
    pin: str = "built"  # the profile that is built, its engine if that is listed, or none: the container chooses
    carry: bool = False


VALUES = {
    "repo": ["acme/capitals", "acme/other"],
    "commit": ["c" * 40, "d" * 40],
    "image": sorted(IMAGES),
    "gpu": sorted(GPUS),
    "gpu_count": [1, 2],
    "length": [0, 2048, 4096],
    "share": [None, 0.4],
    "profile": ["auto", "latency", "throughput"],
}
CHANGES = st.sampled_from([{field: value} for field, values in VALUES.items() for value in values])


@st.composite
def histories(draw):
    """Steps among few wishes, so that each comes back; one wish differs little from another, so that mix-ups show."""
    wishes = [Wish()]
    for change in draw(st.lists(CHANGES, min_size=1, max_size=4)):
        wishes.append(draw(st.sampled_from(wishes))._replace(**change))
    steps = st.builds(
        Step,
        wish=st.sampled_from(wishes),
        host=st.integers(0, 1),
        pin=st.sampled_from(["built", "cached", "none"]),
        carry=st.booleans(),
    )
    return draw(st.lists(steps, min_size=1, max_size=10))


@pytest.fixture(scope="module")
def nim():
    """The modules of the lab's NIM, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)  # its folder goes into an image as it is
        patch.syspath_prepend(str(ROOT / "lab/images/nim"))
        names = ("contract", "engine_cache", "gpus", "selection", "settings", "start")
        yield types.SimpleNamespace(**{name: importlib.import_module(f"lab_nim.{name}") for name in names})


def released(wish):
    """The release that the collection makes of a wish."""
    model = {
        "name": "capitals", "image": f"nvcr.io/nim/meta/llama:{IMAGES[wish.image]}",
        "weights": {"repo": wish.repo, "revision": "main"}, "profile": wish.profile, "gpus": {"count": wish.gpu_count},
        "port": 8000, "address": "0.0.0.0", "served_name": None, "uid": 1000, "shm_size": "16g",
        "gateway_port": None, "second_port": None,
        "env": {"NIM_MAX_MODEL_LEN": wish.length} if wish.length else {}, "unchecked_env": {},
        "memory_share": wish.share, "contract": "auto", "verify": [],
    }  # fmt: skip
    image = {"digest": wish.image, "pinned": f"nvcr.io/nim/meta/llama@{wish.image}", "nim_version": IMAGES[wish.image]}
    gpus = [{"index": index, "uuid": f"GPU-{index}", "name": wish.gpu} for index in range(wish.gpu_count)]
    return _release.release(model, image, wish.commit, gpus, "/weights")


class Lab:
    """Two hosts with a cache each."""

    def __init__(self, nim, folder, rename=lambda name: name):
        self.nim, self.folder, self.rename = nim, pathlib.Path(folder), rename
        self.built = [{}, {}]  # by host: the wish that an engine was built for, by the engine's name
        for host in range(2):
            (self.folder / f"cache{host}").mkdir()

    def weights(self, wish):
        """The checkpoint's folder."""
        folder = self.folder / wish.repo.replace("/", "--") / wish.commit
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "says").write_text(f"{wish.repo}@{wish.commit}")
        return folder

    def serve(self, wish, host, pin):
        """What weights the container serves (str), and whether it built an engine and used a cached one."""
        nim, generation = self.nim, self.nim.contract.load(IMAGES[wish.image])
        environment = dict(released(wish)["env"], NIM_CACHE_PATH=str(self.folder / f"cache{host}"))
        name = environment["NIM_CUSTOM_MODEL_NAME"] = self.rename(environment["NIM_CUSTOM_MODEL_NAME"])
        gpus = [
            nim.gpus.Gpu(index, f"GPU-{index}", wish.gpu, f"{GPUS[wish.gpu]}:10de", 81559, 0, 9.0)
            for index in range(wish.gpu_count)
        ]
        engines = nim.engine_cache.cached(self.folder / f"cache{host}", generation)
        if pin != "none":
            built = next(one for one in generation.manifest if one.buildable and not one.lora)
            cached = [one.profile for one in engines if pin == "cached" and one.profile.name == name]
            environment["NIM_MODEL_PROFILE"] = [*cached, built][0].id
        settings = nim.settings.read(dict(environment, LAB_ENGINE_BUILD_SECONDS="0"))
        log = io.StringIO()
        with contextlib.redirect_stdout(log), tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            profiles = [one.profile for one in engines] + list(generation.manifest)
            profile = nim.selection.choose(settings, profiles, generation, gpus)
            served = nim.start.prepare(
                settings, generation, engines, profile, gpus[0], self.weights(wish), CONFIG, pathlib.Path(scratch)
            )
            said = (served / "says").read_text()
        return said, "successfully cached" in log.getvalue(), "Using the cached engine" in log.getvalue()

    def carry(self, wish, to):
        """As between two servers, where the other one has the engine and this one lacks it."""
        name = self.rename(released(wish)["engine"])
        caches = [str(self.folder / f"cache{host}") for host in range(2)]
        hosts = [{"host": host, "has": list(self.built[host]), "wants": [name] * (host == to)} for host in range(2)]
        for engine, way in _engines.to_carry(hosts).items():
            with open(self.folder / "tar", "w+b") as stream:
                packed = _engine_archive.pack(caches[way["from"]], engine, stream)
                stream.seek(0)
                members = _engine_archive.check(caches[to], engine, stream, packed.sha256)
                assert _engine_archive.unpack(caches[to], engine, stream, members)
            self.built[to][engine] = self.built[way["from"]][engine]


def replay(nim, history, rename=lambda name: name):
    """Deploy step after step, and assert after each that it serves what was wished for and builds only what is new."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(nim, folder, rename)
        for step in history:
            wish = step.wish
            if step.carry:
                lab.carry(wish, step.host)
            built_for = lab.built[step.host]
            known = wish in built_for.values()
            said, built, reused = lab.serve(wish, step.host, step.pin)
            assert said == f"{wish.repo}@{wish.commit}", "other weights are served than were wished for"
            assert built != known, "the same key is built again" if known else "nothing was built"
            assert reused == known
            name = rename(released(wish)["engine"])
            assert built_for.setdefault(name, wish) == wish, "a changed key has met a stale engine"


@given(histories())
def test_what_is_served_is_what_was_wished_for_and_nothing_is_built_twice(nim, history):
    replay(nim, history)


OTHERS = [
    Wish(repo="acme/other"), Wish(commit="d" * 40), Wish(image=sorted(IMAGES)[1]), Wish(image=sorted(IMAGES)[2]),
    Wish(gpu="NVIDIA H100 NVL"), Wish(gpu_count=2), Wish(length=4096), Wish(share=0.4), Wish(profile="latency"),
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_there_and_back_again_reuses_the_first_engine(nim, other):
    replay(nim, [Step(Wish()), Step(other), Step(Wish()), Step(other), Step(Wish(), 1, carry=True)])


def test_the_lab_serves_old_weights_under_a_name_that_is_reused(nim, tmp_path):
    lab = Lab(nim, tmp_path, rename=lambda _name: "constant")
    old, new = Wish(commit="c" * 40), Wish(commit="d" * 40)
    assert lab.serve(old, 0, "built")[0] == lab.serve(new, 0, "built")[0] == f"{old.repo}@{old.commit}"


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_this_test_would_see_a_name_that_leaves_something_out(nim, other):
    with pytest.raises(AssertionError):
        replay(nim, [Step(Wish()), Step(other)], rename=lambda _name: "constant")


def test_this_test_would_see_an_engine_that_is_built_again(nim):
    names = iter("abcdef")
    with pytest.raises(AssertionError, match="built again"):
        replay(nim, [Step(Wish()), Step(Wish())], rename=lambda _name: next(names))
