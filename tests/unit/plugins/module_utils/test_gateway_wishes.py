# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._gateway_wishes import refusals

KEY = "gateway-0123456789abcdef"


def model(name="capitals", port=9000, host="gpu1", address="192.0.2.11", ports=(8000, 18000)):
    return {"name": name, "port": port, "servers": [{"host": host, "address": address, "ports": list(ports)}]}


def codes(*models, **wishes):
    usual = {"bind": "0.0.0.0", "allow": [], "api_keys": [KEY], "stats_socket": "/run/haproxy/nim.sock"}
    usual.update(exporter_bind="127.0.0.1", exporter_port=0)
    times = {"timeout_connect": "5s", "timeout_answer": "1h", "check_interval": 1000}
    found = refusals("edge", dict(usual, **dict(times, **dict(wishes, models=list(models)))))
    assert KEY not in "".join(map(str, found))
    return [problem.code for problem in found]


def test_what_can_be_is_not_refused():
    assert codes(model(), model("openmath2", 9001)) == []
    assert codes(model(address="2001:db8::7"), bind="[::1]", api_keys=[]) == []
    assert codes(model(), api_keys=[], allow=["all_addresses"]) == []


@pytest.mark.parametrize(
    ("models", "code"),
    [
        ([], "gateway_empty"),
        ([model("a b"), model("a_b", 9001)], "gateway_models_alike"),
        ([model("a"), model("b")], "gateway_models_alike"),
        ([model(ports=(8000, 8000))], "gateway_ports_not_two"),
        ([model(ports=(8000,))], "gateway_ports_not_two"),
        ([model(host="edge", ports=(9000, 19000))], "gateway_port_own"),
        ([model(address="192.0.2.11:1\n    stats enable")], "gateway_line_unfit"),
    ],
)
def test_models_that_cannot_be_told_apart_or_reached(models, code):
    assert codes(*models) == [code]


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"bind": "127.0.0.1:1\n    stats enable"}, "gateway_line_unfit"),
        ({"bind": "127.0.0.1\n"}, "gateway_line_unfit"),
        ({"exporter_bind": "::1\nlog global"}, "gateway_line_unfit"),
        ({"exporter_port": 9000}, "gateway_models_alike"),
        ({"timeout_answer": "1h\nlog global"}, "gateway_line_unfit"),
        ({"stats_socket": "run/haproxy.sock"}, "gateway_line_unfit"),
        ({"api_keys": [KEY, ""]}, "gateway_key_unfit"),
        ({"api_keys": [KEY + "\n"]}, "gateway_key_unfit"),
        ({"api_keys": []}, "gateway_open"),
        ({"api_keys": [], "bind": "*"}, "gateway_open"),
    ],
)
def test_wishes_that_become_no_configuration(wishes, code):
    assert codes(model(), **wishes) == [code]


def test_all_that_is_wrong_at_once():
    assert codes(model("a"), model("b", ports=(1,)), api_keys=[""], bind="a b") == [
        "gateway_models_alike",
        "gateway_ports_not_two",
        "gateway_line_unfit",
        "gateway_key_unfit",
    ]
