# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What has to be allowed by name, and who does without a key."""

from __future__ import annotations

import pytest
from planned_host import IMAGE, model, observed, on_host, rollout, wanted

from ansible_collections.llmops.nim.plugins.module_utils import _least_right, _plan

AT = {"verify_address": "192.0.2.11"}


def codes(gateway=False, rollout_=(), **keys):
    one = model(**dict({"allow": [], "address": "192.0.2.11"}, **keys))
    return [problem.code for problem in _least_right.problems(one, gateway, rollout(**dict(AT, **dict(rollout_))))]


def test_a_model_on_one_address_with_nothing_special_is_fine():
    assert codes() == []


@pytest.mark.parametrize(
    ("code", "word", "keys"),
    [
        ("address_open", "all_addresses", {"address": "0.0.0.0"}),
        ("uid_root", "root", {"uid": 0}),
        ("remote_code", "remote_code", {"env": {"NIM_FORCE_TRUST_REMOTE_CODE": 1}}),
        ("remote_code", "remote_code", {"env": {"NIM_TRUST_CUSTOM_CODE": "true"}}),
        ("remote_code", "remote_code", {"env": {"NIM_PASSTHROUGH_ARGS": "--max-model-len 8 --trust-remote-code"}}),
        ("remote_code", "remote_code", {"unchecked_env": {"OTHER_ARGS": "--trust_remote_code=True"}}),
    ],
)
def test_refused_unless_allowed_by_name(code, word, keys):
    assert codes(**keys) == [code]
    assert codes(allow=[word], **keys) == []
    others = {"all_addresses", "root", "remote_code"} - {word}
    assert codes(allow=sorted(others), **keys) == [code]


@pytest.mark.parametrize(
    "env", [{"NIM_TRUST_CUSTOM_CODE": "0"}, {"NIM_PASSTHROUGH_ARGS": "--trust-remote-code=false"}, {"X": "trust"}]
)
def test_remote_code_that_is_off_is_off(env):
    assert codes(env=env) == []


def test_nobody_allows_another_user_id_below_0():
    assert codes(uid=-1, allow=["root"]) == ["uid_root"]


def test_all_addresses_behind_a_gateway_with_keys():
    assert codes(gateway=True, rollout_={"gateway_keys": True}, address="0.0.0.0") == []
    assert codes(gateway=True, rollout_={"gateway_keys": False}, address="0.0.0.0") == ["address_open"]
    assert codes(gateway=False, rollout_={"gateway_keys": True}, address="0.0.0.0") == ["address_open"]


@pytest.mark.parametrize(("asked_at", "found"), [("192.0.2.11", ["address_unreachable"]), ("127.0.0.1", [])])
def test_the_loopback_address_is_for_a_server_that_is_its_own_control_node(asked_at, found):
    assert codes(rollout_={"verify_address": asked_at}, address="127.0.0.1") == found


@pytest.mark.parametrize("address", ["gpu7", "", "::", "0.0.0.0:80", "127.0.0.1\n", "$(id)", "0"])
def test_what_is_no_address_is_told(address):
    assert codes(address=address) == ["address_invalid"]


def test_the_plan_refuses():
    one = model(allow=[])
    (item,) = _plan.plans(*planned(one))
    assert [problem["code"] for problem in item["problems"]] == ["address_open"]


def planned(one, releases=(), **keys):
    weights = {"commits": {"acme/capitals@main": "c" * 40}, "checkpoints": {}, "selection": ""}
    return observed([one], releases, **keys), {one["image"]: IMAGE}, weights, "/weights", rollout()


def keyless(wish="auto", image=IMAGE, **keys):
    release = dict(on_host(wanted()), **keys)
    return _least_right.keyless_profiles(model(ngc_key=wish), image, [release], [wanted()["id"]])


def test_a_new_release_needs_no_key_for_what_has_served_from_this_cache():
    assert keyless() == ["9" * 64]


def test_it_gets_one_where_something_may_have_to_come():
    assert keyless(image=dict(IMAGE, pinned="nvcr.io/nim/meta/llama@sha256:" + "b" * 64)) == []
    assert keyless(release="never-proven") == []
    assert keyless(profile=None) == []


def test_the_inventory_has_the_last_word():
    assert keyless("never") is None
    assert keyless("always") == []


@pytest.mark.parametrize(
    ("version", "tag", "none_needed"),
    [("2.0.10", "2.0.10", True), ("2.1.5", "2.1.5", True), ("2.0.12", "2.0.12-pb3", False), ("2.0.2", "2.0.2", False)],
)
def test_from_2_0_10_on_only_the_production_branch_wants_a_key(version, tag, none_needed):
    image = dict(IMAGE, reference=f"nvcr.io/nim/nvidia/model-free-nim:{tag}", nim_version=version, pinned="other")
    assert (keyless(image=image) is None) == none_needed
