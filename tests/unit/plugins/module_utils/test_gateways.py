# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._gateways import behind
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def host(name, *models):
    return {"host": name, "address": f"10.0.0.{name[-1]}", "models": list(models)}


def model(name="capitals", **keys):
    return dict({"name": name, "gateway_port": 9000}, **keys)


def test_each_model_has_a_port_and_all_its_hosts_with_two_ports_each():
    assert behind([host("gpu1", model(port=8100)), host("gpu2", model(second_port=8001))]) == [
        {
            "name": "capitals",
            "port": 9000,
            "servers": [
                {"host": "gpu1", "address": "10.0.0.1", "ports": [8100, 18100]},
                {"host": "gpu2", "address": "10.0.0.2", "ports": [8000, 8001]},
            ],
        }
    ]


def test_models_and_hosts_without_a_gateway_are_left_out():
    none = {"host": "gateway1", "address": "10.0.0.9", "models": None}
    assert behind([none, host("gpu1"), host("gpu2", {"name": "capitals"}, model("x", gateway_port=None))]) == []


def test_what_is_no_number_is_left_to_the_look_at_the_host():
    assert behind([host("gpu1", model(port="eight thousand")), host("gpu2", model())])[0]["servers"] == [
        {"host": "gpu2", "address": "10.0.0.2", "ports": [8000, 18000]}
    ]


def test_several_models():
    found = behind([host("gpu1", model(), model("base", gateway_port=9001)), host("gpu2", model())])
    assert [(one["name"], one["port"], len(one["servers"])) for one in found] == [
        ("capitals", 9000, 2),
        ("base", 9001, 1),
    ]


def test_numbers_may_come_as_texts_from_templates():
    (found,) = behind([host("gpu1", model(gateway_port="9000", port="8000")), host("gpu2", model(second_port=""))])
    assert found["port"] == 9000
    assert [one["ports"] for one in found["servers"]] == [[8000, 18000], [8000, 18000]]


@pytest.mark.parametrize(
    "hosts",
    [
        [host("gpu1", model()), host("gpu2", model(gateway_port=9001))],
        [host("gpu1", model(), model("base"))],
        [host("gpu1", model()), host("gpu2", model("base"))],
        [host("gpu1", model(), model("base", gateway_port=9001)), host("gpu2", model("base"))],
    ],
    ids=["hosts disagree", "two models of a host", "two models of two hosts", "both"],
)
def test_a_port_is_for_one_model_and_a_model_on_one_port(hosts):
    with pytest.raises(Problem) as caught:
        behind(hosts)
    assert caught.value.code == "gateway_port_twice"
    assert "9000" in caught.value.what + caught.value.evidence
    assert caught.value.remedy
