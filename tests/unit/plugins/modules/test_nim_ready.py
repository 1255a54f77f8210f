# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_ready against a service on 127.0.0.1, with a stand-in for the docker command."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

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
    assert [one["phase"] for one in result["phases"]] == ["start"]


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


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (("die 1", "die 137"), "exit status 137"),
        (("die 1", "oom", "die 137"), "the kernel killed it for memory"),
        (("oom", "die 137", "die 1"), "exit status 1 "),
        ((), "exit status unknown"),
    ],
)
def test_how_it_ended_is_told_though_docker_has_started_it_again(nim, docker, run, events, said):
    nim.ready = 503
    docker.ended(*events)
    # Running again, it says 0.
    docker.after_inspections(2, restarts=1, ExitCode=0)
    result = run()
    assert result["problem"]["code"] == "container_ended"
    assert said in result["problem"]["what"]


def test_it_is_started_in_the_place_of_another(docker, run):
    docker.stopped()
    assert run(instead_of="nim-wren-0", stop_timeout=7)["changed"] is True
    assert docker.done == ["stop -t 7 nim-wren-0", "start nim-wren-1"]


def test_one_that_runs_is_not_started_again(docker, run):
    assert run(start=True)["changed"] is False
    assert run()["changed"] is False


@pytest.mark.parametrize("instead_of", [None, "nim-wren-0"])
def test_one_that_cannot_start_or_stop(nim, docker, run, instead_of):
    docker.stopped()
    docker.refuse(
        "Error: driver failed programming external connectivity: Bind for 0.0.0.0:8000 failed: port is "
        "already allocated"
    )
    result = run(start=True, instead_of=instead_of)
    assert result["problem"]["code"] == ("not_stopped" if instead_of else "not_started")
    assert "port is already allocated" in result["msg"]
    assert docker.done == ["stop -t 60 nim-wren-0"] if instead_of else ["start nim-wren-1"]
    assert nim.requests == []


def test_the_cause_is_told_from_the_log(nim, docker, run):
    docker.log(
        "INFO get ready",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.",
        "RuntimeError: Engine process failed to start",
    )
    nim.ready = 503
    nim.before = lambda path: docker.set(Status="exited", ExitCode=1)
    result = run()
    assert "exit status 1. The GPU's memory is too small" in result["problem"]["what"]
    assert result["problem"]["evidence"].startswith("torch.OutOfMemoryError: CUDA out of memory")
    assert "smaller" in result["problem"]["remedy"]
    assert [one["code"] for one in result["causes"]] == ["gpu_memory", "engine_failed"]


def test_a_service_that_says_it_cannot_go_on_is_not_waited_for(nim, docker, run, monkeypatch):
    monkeypatch.setattr(nim_ready, "DOOMED_SECONDS", 0)
    docker.log("ValueError: No available memory for the cache blocks. Try increasing it.")
    nim.ready = 503
    result = run(timeout=3600)
    assert result["problem"]["code"] == "container_doomed"
    assert "Nothing is left for the KV cache" in result["problem"]["what"]


def test_what_helps_itself_is_waited_for(nim, docker, run, monkeypatch):
    monkeypatch.setattr(nim_ready, "DOOMED_SECONDS", 0)
    trouble = "ValueError: No available memory for the cache blocks. Try increasing it."
    docker.log(trouble)

    def before(path):
        if len(nim.requests) == 2:
            docker.log(trouble, "Loading weights", "Capturing CUDA graph shapes: 1/35")
        nim.ready = 200 if len(nim.requests) > 3 else 503

    nim.ready, nim.before = 503, before
    assert "failed" not in run()


def test_lines_of_an_earlier_run_do_not_count(nim, docker, run):
    docker.log("2026-01-01T00:00:00.1Z torch.OutOfMemoryError: CUDA out of memory", "2026-01-02T03:04:06Z Hello")
    docker.set(Status="exited", ExitCode=1)
    result = run()
    assert result["problem"]["evidence"] == "Hello"
    assert result["causes"] == []


def test_a_download_that_stands_still(nim, docker, run, tmp_path):
    nim.ready = 503
    (tmp_path / "cache").mkdir()
    docker.mount(tmp_path / "cache", "/opt/nim/.cache")
    docker.log("Downloading shard 1", *(f"Downloading: try {number}" for number in range(50)))
    result = run(timeout=3600, budgets={"download": 1})
    assert result["problem"]["code"] == "download_stalled"
    assert "resumes the download" in result["problem"]["remedy"]


def test_a_download_that_is_slow_is_waited_for(nim, docker, run, tmp_path, monkeypatch):
    monkeypatch.setattr(nim_ready, "MEASURE_SECONDS", 0)
    # A clock that pauses alone move: on a busy machine the seconds of a real one could be over between two looks.
    now = [0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(nim_ready, "time", clock)
    (tmp_path / "cache").mkdir()
    docker.mount(tmp_path / "cache", "/opt/nim/.cache")
    docker.log("Downloading shard 1")

    def before(path):
        (tmp_path / "cache" / f"part{len(nim.requests)}").write_bytes(b"x" * 8192)

    nim.ready, nim.before = 503, before
    result = run(timeout=20, budgets={"download": 2})
    assert result["problem"]["code"] == "not_ready"
    assert "its cache grows by" in result["problem"]["what"]


def test_it_tells_meanwhile_how_far_it_is(nim, docker, run, tmp_path, monkeypatch):
    monkeypatch.setattr(nim_ready, "MEASURE_SECONDS", 0)
    cache, file, told = tmp_path / "cache", tmp_path / "run" / "a.json", []
    cache.mkdir()
    docker.mount(cache, "/opt/nim/.cache")

    def before(path):
        if file.exists():
            told.append(json.loads(file.read_text()))
        (cache / f"part{len(nim.requests)}").write_bytes(b"x" * 8192)
        if len(nim.requests) == 2:
            docker.log("Downloading shard 1")
        nim.ready = 200 if len(nim.requests) > 4 else 503

    nim.ready, nim.before = 503, before
    assert run(progress_file=str(file))["changed"] is False
    assert (told[0]["what"], told[0]["done"]) == ("starting", None)
    assert told[-1]["what"] == "downloading"
    assert told[-1]["done"] > 0
    assert not file.exists()


def test_nothing_happens(nim, docker, run):
    nim.ready = 503
    docker.log("Loading weights")
    result = run(timeout=3600, budgets={"load": 1})
    assert result["problem"]["code"] == "no_progress"
    assert "phase: load" in result["problem"]["what"]
    assert "nim_container_ready_budgets.load" in result["problem"]["remedy"]


PROBE = {"model": "wren", "timeout": 1}


def test_ready_is_what_completes_a_text(nim, run):
    nim.statuses["/v1/completions"] = (503, {})
    nim.before = lambda path: nim.statuses.clear() if len(nim.asked("/v1/completions")) > 1 else None
    result = run(probe={"model": "wren"})
    assert len(nim.asked("/v1/completions")) == 2
    assert [one["phase"] for one in result["phases"]] == ["start", "warm_up"]


def test_a_service_that_is_ready_and_completes_nothing(nim, run):
    nim.statuses["/v1/completions"] = (500, {"object": "error", "message": "CUDA out of memory"})
    result = run(probe=PROBE)
    assert result["problem"]["code"] == "no_completion"
    assert "The GPU's memory is too small" in result["problem"]["what"]
