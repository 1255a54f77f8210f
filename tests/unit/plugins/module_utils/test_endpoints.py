# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which endpoints a run verifies."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _endpoints

CHECKS = [{"prompt": "What is the capital of France?", "expect": "Paris"}]


def item(name="capitals", action="none", port=8000, checks=CHECKS):
    """A plan's item, with what endpoints are made of alone."""
    return {
        "action": action,
        "api": "completions",
        "model": {"name": name, "verify": checks},
        "release": {"port": port, "env": {"NIM_SERVED_MODEL_NAME": f"lab/{name}"}},
    }


def endpoint(host, address, model="lab/capitals", **more):
    common = {"host": host, "base_url": address, "model": model, "api": "completions", "checks": CHECKS}
    return dict(common, **more)


def test_what_is_in_sync_and_what_was_activated():
    variables = {
        "ansible_host": "10.0.0.1",
        "nim_plan": [item(), item("other", "deploy", 8001)],
        "nim_container_releases": [item("other", "deploy", 8010)],
    }
    assert _endpoints.planned([("gpu1", variables)]) == [
        endpoint("gpu1", "http://10.0.0.1:8000/v1"),
        endpoint("gpu1", "http://10.0.0.1:8010/v1", "lab/other"),
    ]


def test_a_host_without_models_has_none():
    assert _endpoints.planned([("bastion", {})]) == []
    assert _endpoints.running([("bastion", {"nim_releases": {"releases": []}})]) == []


def test_the_address_of_its_own_for_verification():
    known = {"nim_verify_address": "gpu1.public", "ansible_host": "10.0.0.1"}
    assert _endpoints.address("gpu1", known) == "gpu1.public"
    assert _endpoints.address("gpu1", known, verify=False) == "10.0.0.1"
    assert _endpoints.address("gpu1", {}) == "gpu1"


def test_each_model_once_more_through_each_gateway():
    models = [{"name": "capitals", "port": 9000}, {"name": "elsewhere", "port": 9001}]
    gateways = [("edge1", {"ansible_host": "10.0.0.9"}), ("edge2", {})]
    hosts = [("gpu1", {"nim_plan": [item()]}), ("gpu2", {"nim_plan": [item(port=8002)]})]
    assert _endpoints.through(gateways, models, "https", hosts) == [
        endpoint("edge1", "https://10.0.0.9:9000/v1", gateway=True),
        endpoint("edge2", "https://edge2:9000/v1", gateway=True),
    ]


def test_what_runs_with_the_questions_of_the_inventory():
    def release(model, running=True):
        return {
            "model": model,
            "running": running,
            "port": 8000,
            "served_name": f"lab/{model}",
            "labels": {"llmops.nim.api": "completions"},
        }

    variables = {
        "nim_models": [{"name": "capitals", "verify": CHECKS}, {"name": "quiet"}],
        "nim_releases": {"releases": [release("capitals"), release("capitals", False), release("stranger")]},
    }
    assert _endpoints.running([("gpu1", variables)]) == [
        endpoint("gpu1", "http://gpu1:8000/v1"),
        endpoint("gpu1", "http://gpu1:8000/v1", "lab/stranger", checks=[]),
    ]
