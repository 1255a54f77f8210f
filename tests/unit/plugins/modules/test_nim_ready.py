# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_ready against a service on 127.0.0.1, with a stand-in for the docker command."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from ansible.module_utils import basic
from nim_server import DockerStub, NimServer

from ansible_collections.llmops.nim.plugins.modules import nim_ready


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
        params = {"container": "nim-wren-1", "url": nim.url, "docker": docker.command, "timeout": 30, **params}
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": params})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_ready.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_seconds_count_from_the_start_of_the_container(docker, run):
    started = datetime.now(timezone.utc) - timedelta(seconds=90)
    docker.set(StartedAt=started.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"))
    assert run()["seconds"] == pytest.approx(90, abs=10)


def test_the_last_lines_of_the_log_are_returned(run):
    assert run(log_lines=2)["log"] == ["line 99", "line 100"]
    assert len(run()["log"]) == 25


def test_it_waits_until_the_service_is_ready(nim, run):
    nim.ready = 503
    nim.before = lambda path: setattr(nim, "ready", 200 if len(nim.requests) > 2 else 503)
    result = run()
    assert len(nim.requests) == 3
    assert [one["phase"] for one in result["phases"]] == ["starting"]


def test_a_container_that_ends_meanwhile(nim, docker, run):
    nim.ready = 503
    nim.before = lambda path: docker.set(Status="exited", ExitCode=1)
    result = run()
    assert result["problem"]["code"] == "container_ended"
    assert "exit status 1" in result["problem"]["what"]
    assert result["problem"]["evidence"].endswith("line 100")


def test_another_service_at_the_address_does_not_count(nim, docker, run):
    docker.set(Status="created")
    assert run(timeout=0)["problem"]["code"] == "not_ready"
    assert nim.requests == []


def test_no_container(docker, run):
    docker.remove()
    assert run()["problem"]["code"] == "container_missing"


def test_check_mode_does_not_wait(nim, run):
    assert run(_ansible_check_mode=True)["log"] == []
    assert nim.requests == []


@pytest.mark.parametrize(("statuses", "said"), [((1, 137), "exit status 137"), ((), "exit status unknown")])
def test_how_it_ended_is_told_though_docker_has_started_it_again(nim, docker, run, statuses, said):
    nim.ready = 503
    docker.ended(*statuses)
    # Running again, it says 0.
    docker.after_inspections(2, restarts=1, ExitCode=0)
    result = run()
    assert result["problem"]["code"] == "container_ended"
    assert said in result["problem"]["what"]
