# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_benchmark with a stand-in for AIPerf that leaves what version 0.13.0 was seen to leave."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from ansible.module_utils import basic
from documented import options as documented_options

from ansible_collections.llmops.nim.plugins.module_utils import _aiperf
from ansible_collections.llmops.nim.plugins.modules import nim_benchmark

KEY = "sk-gateway-0123456789"
SPREAD = {"unit": "ms", "avg": 21.0, "p50": 20.0, "p90": 30.0, "p99": 40.0}
# From the second failure on it has no times, as where nothing is answered.
STAND_IN = """#!{python}
import json, os, sys
config = json.load(open(sys.argv[sys.argv.index("--config") + 1]))["benchmark"]
clients = config["phases"][1]["concurrency"]
with open({told!r}, "a") as stream:
    key = os.environ.get("NIM_BENCHMARK_API_KEY")
    stream.write(json.dumps([sys.argv, config, key, os.environ.get("HF_HUB_OFFLINE")]) + "\\n")
if clients == 32:
    import time
    time.sleep(600)
if clients == 16:
    sys.exit("Failed to load tokenizer")
found = {{"aiperf_version": "0.13.0", "benchmark_duration": {{"avg": 2.0}}, "error_summary": []}}
if clients == 8:
    found.update(error_request_count={{"avg": 12.0}}, request_count={{"avg": 88.0}})
    found["error_summary"] = [
        {{"count": 2, "error_details": {{"message": "Server disconnected"}}}},
        {{"count": 10, "error_details": {{"message": "Connection refused"}}}},
    ]
else:
    for name in ("time_to_first_token", "inter_token_latency", "request_latency"):
        found[name] = {spread!r}
    found.update(request_count={{"avg": 100.0}}, request_throughput={{"avg": 50.0}})
    found.update(output_token_throughput={{"avg": 400.0}}, output_sequence_length={{"avg": 8.0}})
os.mkdir(config["artifacts"]["dir"])
json.dump(found, open(config["artifacts"]["dir"] + "/profile_export_aiperf.json", "w"))
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the module; its result (dict), with what AIPerf was told as C(told)."""

    def call(check=False, **params):
        told, command = tmp_path / "told", tmp_path / "aiperf"
        command.write_text(STAND_IN.format(python=sys.executable, told=str(told), spread=SPREAD))
        command.chmod(0o755)
        usual = {"aiperf": str(command), "base_url": "http://gpu1:8000/v1", "model": "wren", "tokenizer": "/t"}
        arguments = dict(usual, **params, _ansible_check_mode=check)
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_benchmark.main()
        lines = told.read_text().splitlines() if told.exists() else []
        return dict(json.loads(capsys.readouterr().out), told=[json.loads(line) for line in lines])

    return call


def test_each_number_of_clients_is_measured(run, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run(concurrency=[40, 4, 4], requests=100, extra_inputs={"ignore_eos": True})
    assert not result.get("failed"), result
    measured = result["measured"]
    assert [one["concurrency"] for one in measured["steps"]] == [4, 40]
    assert measured["missing"] == []
    assert measured["tool"] == "AIPerf 0.13.0"
    first = measured["steps"][0]
    assert first["ttft_ms"] == {"p50": 20.0, "p90": 30.0, "p99": 40.0}
    assert (first["requests"], first["failed"], first["output_tokens_per_second"]) == (100, 0, 400.0)
    configs = [config for _argv, config, _key, _offline in result["told"]]
    assert [config["phases"][1]["requests"] for config in configs] == [100, 160]
    assert configs[0]["endpoint"]["url"] == "http://gpu1:8000"
    assert configs[0]["endpoint"]["extra"] == {"temperature": 0, "ignore_eos": True}
    # A folder would be taken for the name of a repository.
    assert [offline for *_others, offline in result["told"]] == [None, None]
    assert set(measured) == set(yaml.safe_load(nim_benchmark.RETURN)["measured"]["contains"])


def test_the_key_is_in_the_environment_alone(run):
    result = run(concurrency=[1], api_key=KEY)
    ((argv, config, key, _offline),) = result.pop("told")
    assert key == KEY
    assert KEY not in json.dumps([argv, config, result])
    assert _aiperf.KEY in config["endpoint"]["apiKey"]


def test_a_server_that_fails_halfway_ends_the_sweep_and_what_there_is_is_told(run):
    result = run(concurrency=[4, 8, 64])
    assert result["failed"]
    assert result["problem"]["code"] == "benchmark_failed"
    assert "12 of 100 requests failed" in result["msg"]
    assert result["measured"]["missing"] == [64]
    sound, broken = result["measured"]["steps"]
    assert sound["ttft_ms"]
    assert (broken["failed"], broken["ttft_ms"]) == (12, None)
    assert broken["errors"] == ["10 times Connection refused", "2 times Server disconnected"]


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        ({"concurrency": [16]}, "benchmark_empty", "Failed to load tokenizer"),
        ({"concurrency": [32], "step_timeout": 1}, "benchmark_stalled", "not done after 1 s"),
        ({"aiperf": "/nowhere/aiperf"}, "no_aiperf", "/nowhere/aiperf"),
        ({"concurrency": []}, "benchmark_invalid", "concurrency"),
        ({"concurrency": [0]}, "benchmark_invalid", "concurrency"),
        ({"output_tokens": 0}, "benchmark_invalid", "output_tokens: 0"),
        ({"base_url": "http://gpu1:8000"}, "benchmark_invalid", "ends in /v1"),
    ],
)
def test_what_cannot_be_measured_is_told(run, params, code, words):
    result = run(**params)
    assert result["problem"]["code"] == code
    assert words in result["msg"]
    assert result["measured"]["steps"] == []


def test_check_mode_measures_nothing(run):
    result = run(check=True, concurrency=[1])
    assert (result["told"], result["measured"]["missing"]) == ([], [1])


def test_the_options_are_documented():
    documented = documented_options(nim_benchmark)
    assert set(documented) == set(_aiperf.ARGUMENTS)
    assert {name: one.get("default") for name, one in documented.items()} == {
        name: one.get("default") for name, one in _aiperf.ARGUMENTS.items()
    }
