# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_soak against a service on 127.0.0.1, with a stand-in for the docker command."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic
from documented import options as documented_options
from nim_server import DockerStub, NimServer

from ansible_collections.llmops.nim.plugins.modules import nim_soak

yaml = pytest.importorskip("yaml")
READY, COMPLETIONS = "/v1/health/ready", "/v1/completions"
PROBE = {"model": "wren", "prompt": "?", "max_tokens": 4}


@pytest.fixture
def nim():
    with NimServer() as server:
        yield server


@pytest.fixture
def docker(tmp_path):
    return DockerStub(tmp_path)


@pytest.fixture
def run(nim, docker, monkeypatch, capsys):
    """Run the module; its result (dict)."""

    def call(**params):
        settings = {"container": "nim-wren-1", "url": nim.url, "docker": docker.command}
        params = {**settings, "seconds": 1, "interval": 0.1, **params}
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": params})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_soak.main()
        return json.loads(capsys.readouterr().out)

    return call


def statuses(nim, *listed):
    """The service answers the health checks with these statuses, then with 200."""
    left = list(listed)

    def before(path):
        if path == READY:
            nim.ready = left.pop(0) if left else 200

    nim.before = before


def test_a_service_that_goes_on(nim, run):
    result = run(log_lines=2)
    assert result["changed"] is False
    assert result["seconds"] >= 1
    assert 2 <= result["checks"] == len(nim.asked(READY))
    assert result["failures"] == 0
    assert result["log"] == ["line 99", "line 100"]
    assert nim.asked(COMPLETIONS) == []


def test_it_tells_meanwhile_how_far_it_is(nim, run, tmp_path):
    file, told = tmp_path / "run" / "a.json", []
    nim.before = lambda path: told.append(json.loads(file.read_text())) if file.exists() else None
    run(seconds=2, interval=0.5, progress_file=str(file))
    assert (told[0]["what"], told[0]["total"], told[0]["unit"]) == ("watched", 2, "seconds")
    assert told[0]["done"] + told[0]["seconds_left"] == 2
    assert not file.exists()


def test_no_seconds_are_one_check(nim, run):
    assert run(seconds=0)["checks"] == 1
    assert len(nim.requests) == 1


def test_the_probe_is_asked_at_each_check(nim, run):
    result = run(probe=PROBE, seconds=0)
    assert result["failures"] == 0
    assert nim.asked(COMPLETIONS) == [dict(PROBE, temperature=0)]


def test_a_few_failures_are_forgiven(nim, run):
    statuses(nim, 200, 503, 503)
    result = run()
    assert "failed" not in result
    assert result["failures"] == 2


def test_too_many_are_not(nim, run):
    statuses(nim, 200, 503, 503, 500, 200)
    result = run(seconds=3600)
    assert result["problem"]["code"] == "soak_failed"
    assert "failed 3 checks in a row" in result["problem"]["what"]
    assert "HTTP 503\n" in result["problem"]["evidence"]
    assert result["problem"]["evidence"].endswith("line 100")
    assert (result["checks"], result["failures"]) == (4, 3)
    assert result["seconds"] < 60


def test_it_does_not_end_with_a_failure(nim, run):
    statuses(nim, 503)
    assert run(seconds=0)["checks"] == 2
    statuses(nim, 503)
    assert run(seconds=0, failures_allowed=0)["problem"]["code"] == "soak_failed"


def test_a_probe_that_fails(nim, run):
    nim.statuses[COMPLETIONS] = (500, {"object": "error", "message": "CUDA error"})
    result = run(seconds=3600, probe=PROBE)
    assert result["problem"]["code"] == "soak_failed"
    assert "CUDA error" in result["problem"]["evidence"]


@pytest.mark.parametrize(
    ("change", "word", "evidence"),
    [
        ({"Status": "exited", "ExitCode": 1}, "exit status 1", "line 100"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, "memory", "OOMKilled, exit status 137"),
        ({"Status": "restarting", "ExitCode": 1, "restarts": 1}, "again and again", "line 100"),
        ({"StartedAt": "2026-01-02T03:05:00Z"}, "started again at 2026-01-02T03:05:00Z", "line 100"),
    ],
)
def test_an_end_of_the_container_is_told_at_once(nim, docker, run, change, word, evidence):
    def before(path):
        if len(nim.requests) == 2:
            docker.set(**change)
            nim.ready = 503

    nim.before = before
    result = run(seconds=3600)
    assert result["problem"]["code"] == "container_ended"
    assert word in result["problem"]["what"]
    assert result["problem"]["evidence"].endswith(evidence)
    assert result["checks"] == 2


def test_an_end_is_seen_between_two_checks(nim, docker, run):
    docker.after_inspections(3, Status="exited", ExitCode=1)
    result = run(seconds=3600, interval=3600)
    assert result["problem"]["code"] == "container_ended"
    assert result["checks"] == 1
    assert result["seconds"] < 60


def test_no_container(docker, run):
    docker.remove()
    assert run()["problem"]["code"] == "container_missing"


def test_check_mode_does_not_watch(nim, run):
    assert run(_ansible_check_mode=True)["checks"] == 0
    assert nim.requests == []


def test_all_is_documented(docker, run):
    documented = yaml.safe_load(nim_soak.RETURN)
    right = run(seconds=0)
    docker.set(Status="exited")
    wrong = run(seconds=0)
    assert set(right) | set(wrong) <= set(documented) | {"changed", "failed", "invocation", "msg"}
    options = documented_options(nim_soak)
    assert set(options) == set(nim_soak.ARGUMENTS)
    for name, option in nim_soak.ARGUMENTS.items():
        for key in ("type", "default", "required"):
            assert options[name].get(key) == option.get(key), name
    assert set(options["probe"]["suboptions"]) == set(nim_soak.ARGUMENTS["probe"]["options"])
