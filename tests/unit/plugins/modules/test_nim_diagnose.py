# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_diagnose over saved logs; containers are diagnosed by the scenario faults."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.modules import nim_diagnose


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the module; its result (dict)."""

    def call(**params):
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_diagnose.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_a_saved_log(run, tmp_path):
    log = tmp_path / "nim.log"
    log.write_bytes(b"nim-1  | \xff\nnim-1  | torch.OutOfMemoryError: CUDA out of memory\n")
    result = run(log_file=str(log))
    (found,) = result["diagnoses"]
    assert found["causes"][0]["code"] == "gpu_memory"
    assert found["causes"][0]["phase"] == "load"
    assert result["report"].startswith(f"{log}: what the log shows\n  cause: The GPU's memory is too small")
    assert result["changed"] is False


def test_a_log_without_a_known_failure(run, tmp_path):
    log = tmp_path / "nim.log"
    log.write_text("INFO hello\nERROR the flux is out of phase\n")
    result = run(log_file=str(log))
    assert result["diagnoses"][0]["causes"] == []
    assert result["diagnoses"][0]["lines"] == ["ERROR the flux is out of phase"]
    assert "not a known one" in result["report"]


def test_a_log_that_is_not_there(run, tmp_path):
    assert run(log_file=str(tmp_path / "none"))["problem"]["code"] == "log_unreadable"


def test_docker_does_not_answer(run, tmp_path):
    assert run(docker=str(tmp_path / "none"))["problem"]["code"] == "docker_missing"
