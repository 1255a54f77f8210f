# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _phases
from ansible_collections.llmops.nim.plugins.module_utils._phases import Progress, phase


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("INFO nim_hub_ngc::api::tokio: Downloaded filename: config.json to blob", "download"),
        (
            "INFO build_utils.py:239] Total time of reading and converting rank0 checkpoint: 0.18 s",
            "build",
        ),
        ("[11/10/2025-06:30:40] [TRT-LLM] [I] Building", "build"),
        ("INFO build_utils.py:247] Total time of building rank0 engine: 83.79 s", "load"),
        ("Engine size in bytes 3112711548", "load"),
        ("INFO ngc_injector.py:315] Selected profile: ac34 (vllm)", "start"),
        ("INFO server.py:89] Starting HTTP server on port 8000", "load"),
        ("This is a PLACEHOLDER LEGAL FILE. REPLACE WITH ACTUAL FILE.", None),
        ("", None),
    ],
)
def test_a_line_tells_its_phase(line, expected):
    assert phase(line) == expected


def test_phases_have_their_lengths():
    progress = Progress(100.0)
    progress.read(["Downloaded filename: a", "Downloaded filename: b"], 110.0)
    progress.read(["reading and converting rank0 checkpoint: 0.2 s"], 130.0)
    progress.read(["Engine size in bytes 1"], 214.0)
    progress.enter("ready", 216.0)
    assert progress.phases(216.0) == [
        {"phase": "start", "seconds": 10.0},
        {"phase": "download", "seconds": 20.0},
        {"phase": "build", "seconds": 84.0},
        {"phase": "load", "seconds": 2.0},
    ]


@pytest.mark.parametrize(
    "line",
    [
        "INFO 05-06 20:59:59 [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.65 seconds",
        "Capturing CUDA graph shapes:  69%",
        "INFO 03-21 20:15:44 [monitor.py:33] torch.compile takes 28.77 s in total",
    ],
)
def test_lines_of_vllm_s_warm_up(line):
    assert phase(line) == "warm_up"


def test_a_phase_is_stuck_when_nothing_new_happens_for_longer_than_its_budget():
    progress = Progress(0.0, {"load": 10})
    progress.read(["Loading weights"], 5.0)
    assert progress.stuck(15.0) is None
    assert progress.stuck(15.1) == pytest.approx(10.1)
    progress.read(["Loading weights", 'INFO 1:2 - "GET /v1/health/ready HTTP/1.1" 503'], 15.2)
    assert progress.stuck(15.2) is not None, "what was said before, and who asks, is no progress"
    progress.read(["shard 2 of 3"], 15.3)
    assert progress.stuck(25.0) is None


def test_of_a_download_only_bytes_count():
    progress = Progress(0.0, {"download": 10})
    progress.grown(100, 1.0)
    progress.read(["Downloading a"], 2.0)
    progress.read(["Downloading b", "retry 2"], 11.0)
    assert progress.stuck(12.5) is not None
    progress.grown(101, 12.6)
    assert progress.stuck(12.7) is None
    progress.grown(101, 30.0)
    assert progress.stuck(30.0) is not None


def test_where_no_cache_can_be_seen_the_log_of_a_download_counts():
    progress = Progress(0.0, {"download": 10})
    progress.read(["Downloading a"], 2.0)
    progress.read(["Downloading b"], 11.0)
    assert progress.stuck(12.5) is None


def test_a_cache_that_grows_much_is_a_download_that_the_log_does_not_tell_of():
    progress = Progress(0.0)
    progress.grown(1000, 1.0)
    progress.grown(2000, 2.0)
    assert progress.phase == "start"
    progress.grown(2000 + 16 * 1024**2, 3.0)
    assert progress.phase == "download"


def test_the_rate_of_a_download_is_that_of_the_last_minute():
    progress = Progress(0.0)
    assert progress.rate(1.0) == 0
    for second in range(0, 121, 10):
        progress.grown(1 + second * 1000, float(second))
    assert progress.rate(120.0) == pytest.approx(1000, rel=0.2)
    assert progress.rate(1000.0) == 0


def test_a_cache_is_measured_by_what_it_takes_on_the_disk(tmp_path):
    assert _phases.size(str(tmp_path / "none")) is None
    assert _phases.size(None) is None
    (tmp_path / "blobs").mkdir()
    before = _phases.size(str(tmp_path))
    (tmp_path / "blobs" / "a").write_bytes(b"x" * 100_000)
    assert _phases.size(str(tmp_path)) - before >= 100_000
