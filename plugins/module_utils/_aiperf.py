# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""NVIDIA's AIPerf: what it is told, how it is run, and what it leaves, as of version 0.13.0.

Where a function takes params, they are the options of nim_benchmark (dict of ARGUMENTS).
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "aiperf": {"type": "path", "default": "aiperf"},
    "base_url": {"type": "str", "required": True},
    "model": {"type": "str", "required": True},
    "api": {"type": "str", "choices": ["completions", "chat"], "default": "completions"},
    "tokenizer": {"type": "path", "required": True},
    "concurrency": {"type": "list", "elements": "int", "default": [1, 4, 16, 64]},
    "requests": {"type": "int", "default": 100},
    "input_tokens": {"type": "int", "default": 512, "no_log": False},
    "output_tokens": {"type": "int", "default": 128, "no_log": False},
    "extra_inputs": {"type": "dict", "default": {}},
    "api_key": {"type": "str", "no_log": True},
    "ca_path": {"type": "path"},
    "request_timeout": {"type": "int", "default": 600},
    "step_timeout": {"type": "int", "default": 3600},
}
# What makes two measurements comparable.
LOAD = ("api", "input_tokens", "output_tokens", "extra_inputs")
PERCENTILES = ("p50", "p90", "p99")
# A client that asks less often than this has not left its start behind.
ROUNDS = 4
# The variable by which the key reaches AIPerf: its file says only where to look.
KEY = "NIM_BENCHMARK_API_KEY"
_QUOTED = 3


def requests(params, concurrency):
    """How many requests (int) a step of so many clients (int) sends."""
    return max(params["requests"], ROUNDS * concurrency)


def configuration(params, concurrency, folder):
    """What AIPerf reads with C(--config) (dict) for a step of so many clients (int).

    folder: a path (str) for what it leaves, which is not there yet.
    """
    endpoint = {
        "url": params["base_url"].rstrip("/")[: -len("/v1")],
        "type": params["api"],
        "streaming": True,
        # To count again what the text has become would give other numbers than the server sampled.
        "useServerTokenCount": True,
        "useLegacyMaxTokens": True,
        "timeout": params["request_timeout"],
        "extra": dict({"temperature": 0}, **params["extra_inputs"]),
    }
    if params["api_key"]:
        endpoint["apiKey"] = "${" + KEY + "}"
    phase = {"type": "concurrency", "concurrency": concurrency}
    benchmark = {
        "model": params["model"],
        "endpoint": endpoint,
        "tokenizer": {"name": params["tokenizer"]},
        "dataset": {
            "type": "synthetic",
            "entries": requests(params, concurrency),
            "prompts": {"isl": params["input_tokens"], "osl": params["output_tokens"]},
        },
        "phases": [
            dict(phase, name="warmup", kind="warmup", requests=concurrency),
            dict(phase, name="profiling", kind="profiling", requests=requests(params, concurrency)),
        ],
        "artifacts": {"dir": folder, "summary": ["json"], "records": False},
        "gpuTelemetry": {"enabled": False},
        "serverMetrics": {"enabled": False},
        "runtime": {"ui": "none"},
    }
    # The same questions each time, or two releases could not be compared.
    return {"schemaVersion": "2.0", "randomSeed": 1, "benchmark": benchmark}


def environment(params):
    """The environment (dict) of AIPerf."""
    # Offline mode takes a folder for the name of a repository. A folder needs no network either way.
    found = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    if params["api_key"]:
        found[KEY] = params["api_key"]
    if params["ca_path"]:
        found["SSL_CERT_FILE"] = params["ca_path"]
    return found


def step(export, concurrency):
    """What a step has measured (dict), from the JSON that AIPerf leaves (dict).

    C(concurrency), C(requests) and C(failed) (int), C(seconds), C(ttft_ms), C(itl_ms) and C(latency_ms) (dicts of
    PERCENTILES to milliseconds, null where no request succeeded), C(output_tokens_per_second), C(requests_per_second),
    C(input_tokens) and C(output_tokens) (the mean of a request), C(errors) (list of str).
    """

    def average(name):
        return (export.get(name) or {}).get("avg")

    def spread(name):
        found = export.get(name) or {}
        return {key: found[key] for key in PERCENTILES} if set(PERCENTILES) <= set(found) else None

    failed = int(average("error_request_count") or 0)
    errors = sorted(export.get("error_summary") or [], key=lambda one: -one["count"])
    return {
        "concurrency": concurrency,
        "requests": int(average("request_count") or 0) + failed,
        "failed": failed,
        "seconds": average("benchmark_duration"),
        "ttft_ms": spread("time_to_first_token"),
        "itl_ms": spread("inter_token_latency"),
        "latency_ms": spread("request_latency"),
        "output_tokens_per_second": average("output_token_throughput"),
        "requests_per_second": average("request_throughput"),
        "input_tokens": average("input_sequence_length"),
        "output_tokens": average("output_sequence_length"),
        "errors": [f"{one['count']} times {one['error_details']['message']}" for one in errors[:_QUOTED]],
    }


def measure(params, concurrency, folder):
    """Run AIPerf for a step of so many clients (int): (the version of AIPerf, what step() returns).

    folder: an empty one (str) that only this user may read. Raises Problem where AIPerf measures nothing.
    """
    config, left = os.path.join(folder, "aiperf.json"), os.path.join(folder, "artifacts")
    with open(config, "w", encoding="utf-8") as stream:
        json.dump(configuration(params, concurrency, left), stream)
    rc, said = _run([params["aiperf"], "profile", "--config", config], environment(params), params["step_timeout"])
    try:
        with open(os.path.join(left, "profile_export_aiperf.json"), encoding="utf-8") as stream:
            export = json.load(stream)
        return export["aiperf_version"], step(export, concurrency)
    except (OSError, ValueError, LookupError, TypeError) as error:
        tail = "\n".join(line for line in said.splitlines() if line.strip())[-1500:]
        raise Problem(
            f"AIPerf ended without a measurement of {concurrency} clients.",
            f"exit status {rc}, {type(error).__name__}: {error}\n{tail}",
            "Read what it says above. A tokenizer that it cannot load can be replaced: nim_benchmark_tokenizer.",
            "benchmark_empty",
        ) from None


def _run(command, env, timeout):
    try:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Its workers are ended with it.
            start_new_session=True,
        )
    except OSError as error:
        raise Problem(
            "AIPerf cannot be run.", str(error), "playbooks/benchmark.yml installs it; see nim_aiperf_dir.", "no_aiperf"
        ) from None
    try:
        said, _none = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Problem(
            f"AIPerf was not done after {timeout} s.",
            " ".join(command),
            "The server may answer no more: playbooks/diagnose.yml. Ask for fewer requests, or raise step_timeout.",
            "benchmark_stalled",
        ) from None
    finally:
        _end(process)
    return process.returncode, said.decode("utf-8", "replace")


def _end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
