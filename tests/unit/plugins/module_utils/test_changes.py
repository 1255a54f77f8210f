# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned_host import COMMIT, OLD_COMMIT, model, on_host, wanted

from ansible_collections.llmops.nim.plugins.module_utils._changes import changes, size_bytes


def changed(before, after, commit=COMMIT, **settings):
    """The changes from one model's release to another's, as dict of key to (from, to)."""
    old = on_host(wanted(model(**before), commit=commit))
    old["settings"] = dict(old["settings"], **settings)
    return {one["key"]: (one["from"], one["to"]) for one in changes(wanted(model(**after)), old)}


def test_none():
    assert changed({}, {}) == {}


def test_of_the_weights():
    assert changed({}, {}, commit=OLD_COMMIT) == {"weights": (OLD_COMMIT, COMMIT)}


def test_of_a_variable():
    assert changed({"env": {"NIM_MAX_MODEL_LEN": 4096}}, {"env": {"NIM_MAX_MODEL_LEN": 8192}}) == {
        "env.NIM_MAX_MODEL_LEN": ("4096", "8192")
    }


def test_of_a_variable_that_comes_or_goes():
    assert changed({}, {"env": {"NIM_MAX_MODEL_LEN": 8192}}) == {"env.NIM_MAX_MODEL_LEN": ("-", "8192")}
    assert changed({"env": {"NIM_MAX_MODEL_LEN": 8192}}, {}) == {"env.NIM_MAX_MODEL_LEN": ("8192", "-")}


@pytest.mark.parametrize("name", ["MY_TOKEN", "my_api_key", "SECRET_X", "DB_PASSWORD", "CREDENTIALS"])
def test_a_secret_is_not_shown(name):
    assert changed({"env": {name: "abc"}}, {"env": {name: "xyz"}}) == {}
    assert changed({}, {"env": {name: "xyz"}}) == {}


def test_of_other_keys():
    after = {
        "port": 8001,
        "address": "127.0.0.1",
        "served_name": "x",
        "shm_size": "1g",
        "uid": 7,
        "profile": "throughput",
    }
    assert changed({}, after) == {
        "port": ("8000", "8001"),
        "address": ("0.0.0.0", "127.0.0.1"),
        "served_name": ("capitals", "x"),
        "shm_size": ("16g", "1g"),
        "uid": ("1000", "7"),
        "profile": ("auto", "throughput"),
    }


def test_the_slot_is_no_change():
    old = on_host(wanted(model(gateway_port=9000), slot="b"))
    assert old["port"] == 18000
    assert changes(wanted(), old) == []


def test_the_image_s_own_variables_are_no_change():
    old = on_host(wanted(commit=OLD_COMMIT))
    old["settings"]["env"] = dict(old["settings"]["env"], NIM_SOMETHING_OF_THE_IMAGE="1")
    assert [one["key"] for one in changes(wanted(), old)] == ["weights"]


def test_a_variable_that_was_the_image_s_own_comes():
    old = on_host(wanted())
    old["settings"]["env"] = dict(old["settings"]["env"], NIM_MAX_MODEL_LEN="512")
    found = changes(wanted(model(env={"NIM_MAX_MODEL_LEN": 512})), old)
    assert found == [{"key": "env.NIM_MAX_MODEL_LEN", "from": "-", "to": "512"}]


def test_what_docker_does_not_say_is_no_change():
    assert changed({}, {"shm_size": "1g"}, shm_size=None) == {}
    assert changed({}, {"shm_size": "much"}) == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [("16g", 16 * 1024**3), ("16GB", 16 * 1024**3), ("1.5k", 1536), ("64m", 64 * 1024**2), ("7", 7), ("", None)]
    + [("x", None), ("-1g", None), ("1 t", None), (" 2 g ", 2 * 1024**3), (None, None)],
)
def test_sizes_as_docker_takes_them(text, size):
    assert size_bytes(text) == size


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_none(text):
    assert size_bytes(text) is None or size_bytes(text) >= 0
