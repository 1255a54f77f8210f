# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_model_profiles as Ansible runs it: JSON in, JSON out, with a stand-in for the docker command."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from documented import options as documented_options

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.modules import nim_model_profiles

FIXTURES = Path(__file__).parents[2] / "fixtures" / "profiles"
COLLECTIONS = Path(__file__).parents[4] / "collections"
MODULE = "ansible_collections.llmops.nim.plugins.modules.nim_model_profiles"
KEY = "nvapi-0123456789abcdef"


def run(check_mode=False, **options):
    """(exit status, result) of the module."""
    arguments = dict(options, _ansible_check_mode=check_mode, _ansible_verbosity=3)
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env=dict(os.environ, PYTHONPATH=str(COLLECTIONS)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("\n{"), done.stderr
    return done.returncode, json.loads(done.stdout)


def listing(name):
    return (FIXTURES / name).read_text(encoding="utf-8")


# -- saved listings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_mode", [False, True])
def test_saved_listing(check_mode):
    rc, result = run(check_mode, listing=listing("nim_1.8_h100.txt"), precision="bf16", gpu_count=1)
    assert rc == 0
    assert result["changed"] is False
    assert result["nim"] == {"version": "1.8.6", "model": "acme/wren-1b-instruct"}
    assert result["gpus"][0]["pci_id"] == "2330:10de"
    assert len(result["profiles"]) == 9
    assert result["selected"]["description"] == "tensorrt_llm-h100-bf16-tp1-pp1-latency"
    assert result["selected"]["reasons"]
    assert len(result["rejected"]) == 8
    assert result["refusal"] is None
    assert result["notes"] == []
    assert "problem" not in result


def test_saved_file(tmp_path):
    path = tmp_path / "profiles.txt"
    path.write_bytes((FIXTURES / "nim_1.13_compose.txt").read_bytes())
    rc, result = run(listing_file=str(path))
    assert rc == 0
    assert result["selected"]["gpu"] == "h100_nvl"


def test_returned_keys_are_documented():
    _rc, result = run(listing=listing("nim_2_low_memory.txt"))
    documented = yaml.safe_load(nim_model_profiles.RETURN)
    assert set(result) - {"changed", "invocation"} <= set(documented)
    for key in ("nim", "gpus", "profiles", "rejected"):
        shown = result[key] if key == "nim" else result[key][0]
        assert set(shown) == set(documented[key]["contains"])
    _rc, result = run(listing=listing("nim_1.0.txt"))
    assert set(result["selected"]) == set(documented["profiles"]["contains"]) | {"reasons", "max_model_len"}
    assert {"reasons", "max_model_len"} < set(documented["selected"]["contains"])


def test_documented_options_are_those_of_the_module():
    documented = documented_options(nim_model_profiles)
    assert set(documented) == set(nim_model_profiles.ARGUMENTS)
    for name, option in nim_model_profiles.ARGUMENTS.items():
        for key in ("type", "default", "choices", "elements"):
            assert documented[name].get(key) == option.get(key), name


def test_nothing_usable_is_an_answer_unless_required():
    mix = listing("nim_1.8_gpu_mix.txt")
    rc, result = run(listing=mix, gpu_count=2)
    assert rc == 0
    assert result["selected"] is None
    assert "gpus: [0]" in result["refusal"]
    assert result["problem"]["code"] == "profile_none_gpu_mix"
    rc, result = run(listing=mix, gpu_count=2, require=True)
    assert rc == 1
    assert result["failed"] is True
    assert result["problem"]["code"] == "profile_none_gpu_mix"
    assert "gpus: [0]" in result["msg"]
    assert result["raw"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"listing": ""}, "listing_empty"),
        ({"listing": "hello"}, "listing_unknown_dialect"),
        ({"listing": listing("other_riva_pipes.txt")}, "listing_other_family"),
        ({"listing_file": "/nonexistent/profiles.txt"}, "file_unreadable"),
        ({"listing_file": "/"}, "file_unreadable"),
        ({"listing": listing("nim_1.0.txt"), "profile": "0" * 64}, "profile_unknown"),
        ({"listing": listing("nim_1.0.txt"), "profile": "a" * 64 + " (vllm)"}, "profile_pasted"),
        ({"listing": listing("nim_1.0.txt"), "gpu_count": 0}, "gpu_count_malformed"),
        ({"listing": listing("nim_1.0.txt"), "profile": "latency", "objective": "throughput"}, "profile_contradiction"),
        ({"listing": listing("nim_1.0.txt"), "gpu_facts": [{"name": "L4"}]}, "gpu_facts_malformed"),
        (
            {"listing": listing("nim_1.0.txt"), "gpu_facts": [{"index": 0, "memory_total_mib": "?"}]},
            "gpu_facts_malformed",
        ),
        ({"listing": listing("nim_1.0.txt"), "gpu_count": 2, "gpu_facts": [{"index": 0}]}, "profile_contradiction"),
    ],
)
def test_bad_input(options, code):
    rc, result = run(**options)
    assert rc == 1
    assert result["problem"]["code"] == code
    assert result["msg"].startswith(result["problem"]["what"])
    assert set(result["problem"]) == set(Problem("").as_dict())


@pytest.mark.parametrize("options", [{}, {"listing": "x", "listing_file": "/x"}, {"image": "x"}])
def test_one_source_and_its_gpus_are_required(options):
    rc, result = run(**options)
    assert rc == 1
    assert "msg" in result


def test_weights_default_to_fine_tuned_where_the_env_hands_them_over():
    buildable = "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"
    h100 = listing("nim_1.8_h100.txt")
    for options, description in (
        ({}, "tensorrt_llm-h100-bf16-tp1-pp1-latency"),
        ({"env": {"NIM_FT_MODEL": "/model"}}, buildable),
        ({"env": {"NIM_MODEL_NAME": "/model"}}, buildable),
        ({"env": {"NIM_MODEL_PATH": "/model"}}, buildable),
        ({"env": {"NIM_MODEL_PATH": ""}}, "tensorrt_llm-h100-bf16-tp1-pp1-latency"),
        ({"weights": "fine_tuned"}, buildable),
        ({"env": {"NIM_FT_MODEL": "/model"}, "weights": "base"}, "tensorrt_llm-h100-bf16-tp1-pp1-latency"),
    ):
        _rc, result = run(listing=h100, **options)
        assert result["selected"]["description"] == description


FACTS = {
    "index": 0,
    "uuid": "GPU-aa",
    "name": "NVIDIA GeForce RTX 5090",
    "memory_total_mib": 32607,
    "memory_used_mib": 3200,
    "compute_capability": "12.0",
    "architecture": "Blackwell",
}


def test_facts_of_the_gpus_decide_about_low_memory():
    low = listing("nim_2_low_memory.txt")
    _rc, result = run(listing=low, precision="bf16", gpu_facts=[FACTS])
    assert result["problem"]["code"] == "profile_none_memory"
    assert "others hold 3200 MiB" in result["refusal"]
    _rc, result = run(listing=low, precision="bf16", gpu_facts=[dict(FACTS, own_memory_mib=3200)])
    assert result["selected"]["max_model_len"] == 81152  # 33 GB are more than there is, 27 GB are not
    for env in ({"NIM_MAX_MODEL_LEN": "8192"}, {"NIM_PASSTHROUGH_ARGS": "--seed 1 --max-model-len 8192"}):
        _rc, result = run(listing=low, precision="bf16", gpu_facts=[dict(FACTS, own_memory_mib=3200)], env=env)
        assert result["selected"]["max_model_len"] is None
    _rc, result = run(listing=low, precision="fp8", gpu_facts=[dict(FACTS, compute_capability="8.0")])
    assert result["problem"]["code"] == "profile_contradiction"


# -- the docker command -------------------------------------------------------------------------------------------


@pytest.fixture
def docker(tmp_path):
    """A function that makes a stand-in for docker: it records how it is run, then does what the script says."""

    def make(script):
        path = tmp_path / "docker"
        record = tmp_path / "runs"
        path.write_text(
            f'#!/bin/sh\n{{ printf "%s\\n" "$@"; echo --; }} >> {record}.argv\nenv > {record}.env\n' + script,
            encoding="utf-8",
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    make.argv = lambda: [part.split("\n") for part in (tmp_path / "runs.argv").read_text().split("\n--\n") if part]
    make.env = lambda: (tmp_path / "runs.env").read_text().split("\n")
    return make


def test_listing_by_docker(docker, tmp_path):
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"NGC_API_KEY={KEY}\n", encoding="utf-8")
    rc, result = run(
        docker=docker(f"echo '{KEY} is the key'\ncat {FIXTURES}/nim_1.8_h100.txt >&2\n"),
        image="nvcr.io/nim/acme/wren:1.8.6",
        gpus=[0],
        user="1000:0",
        env={"NIM_FT_MODEL": "/model", "HF_TOKEN": "token-of-the-hub", "NIM_LEVEL": 1},
        env_file=str(secrets),
        volumes=["/var/lib/nim/wren/cache:/opt/nim/.cache:rw"],
        shm_size="16g",
    )
    assert rc == 0
    assert result["changed"] is False
    assert result["selected"]["description"] == "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"
    (argv,) = docker.argv()
    name = argv[argv.index("--name") + 1]
    assert re.fullmatch("nim-profiles-[0-9a-f]{12}", name)
    assert argv == [
        *["run", "--rm", "--name", name, "--pull", "never"],
        *["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--gpus", "device=0", "-u", "1000:0"],
        *["--env-file", str(secrets), "-e", "HF_TOKEN", "-e", "NIM_FT_MODEL", "-e", "NIM_LEVEL"],
        *["-v", "/var/lib/nim/wren/cache:/opt/nim/.cache:rw", "--shm-size", "16g"],
        *["nvcr.io/nim/acme/wren:1.8.6", "list-model-profiles"],
    ]
    assert "HF_TOKEN=token-of-the-hub" in docker.env()
    assert "NIM_LEVEL=1" in docker.env()
    shown = json.dumps(result)
    assert KEY not in shown
    assert "token-of-the-hub" not in shown
    # A value that no name calls a secret does not blot out the answer.
    assert result["selected"]["tensor_parallel"] == 1
    assert "tp1" in result["selected"]["description"]


def test_the_number_of_gpus_is_that_of_the_option(docker):
    stub = docker(f"cat {FIXTURES}/nim_1.0.txt\n")
    _rc, result = run(docker=stub, image="x", gpus=["0", "1"])
    assert result["selected"]["tensor_parallel"] == 2
    _rc, result = run(docker=stub, image="x", gpus=["0"])
    assert result["selected"]["tensor_parallel"] == 1
    _rc, result = run(docker=stub, image="x", gpus=["all"], gpu_count=1)
    assert result["selected"]["tensor_parallel"] == 1


def test_facts_are_taken_of_the_gpus_of_the_service(docker):
    stub = docker(f"cat {FIXTURES}/nim_2_low_memory.txt\n")
    facts = [dict(FACTS, index=3, uuid="GPU-cc"), dict(FACTS, index=5, uuid="GPU-bb", own_memory_mib=3200)]
    for gpus, length in ((["5"], 81152), (["GPU-bb"], 81152), (["3"], None), (["7"], None)):
        rc, result = run(docker=stub, image="x", gpus=gpus, gpu_facts=facts, precision="bf16")
        assert rc == 0
        assert (result["selected"] or {}).get("max_model_len") == length


def test_docker_fails(docker, tmp_path):
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"NGC_API_KEY={KEY}\nOTHER_TOKEN=of-another-kind\n", encoding="utf-8")
    stub = docker(
        "echo starting\n"
        "echo 'nvapi-of-somebody-else'\n"
        f"echo 'docker: Error response from daemon: could not select device driver: {KEY} of-another-kind' >&2\n"
        "exit 125\n"
    )
    rc, result = run(docker=stub, image="nvcr.io/nim/acme/wren:1.8.6", gpus=["0"], env_file=str(secrets))
    assert rc == 1
    assert result["problem"]["code"] == "toolkit_missing"
    assert "docker ended with status 125\nstarting\n" in result["problem"]["evidence"]
    assert "nvapi-of-somebody-else" not in json.dumps(result)
    assert KEY not in json.dumps(result)
    assert "of-another-kind" not in json.dumps(result)


def test_the_listing_of_a_failing_container_is_not_believed(docker):
    rc, result = run(docker=docker(f"cat {FIXTURES}/nim_1.0.txt\nexit 1\n"), image="x", gpus=["0"])
    assert rc == 1
    assert result["problem"]["code"] == "listing_failed"


def test_container_that_lists_nothing(docker):
    rc, result = run(docker=docker("exit 0\n"), image="x", gpus=["0"])
    assert rc == 1
    assert result["problem"]["code"] == "listing_empty"


def test_listing_that_breaks_off_says_why_though_the_status_is_0(docker):
    stub = docker("echo 'SYSTEM INFO\n- Free GPUs: <None>'\necho 'ManifestDownloadError: Authentication Error'\n")
    rc, result = run(docker=stub, image="x", gpus=["0"])
    assert rc == 1
    assert result["problem"]["code"] == "ngc_key_refused"
    assert "ManifestDownloadError: Authentication Error" in result["problem"]["evidence"]
    rc, result = run(docker=docker("echo 'SYSTEM INFO'\n"), image="x", gpus=["0"])
    assert rc == 1
    assert result["problem"]["code"] == "listing_cut"


def test_timeout_removes_the_container(docker):
    stub = docker('[ "$1" = rm ] && exit 0\necho started\nsleep 60 & wait\n')
    begin = time.monotonic()
    rc, result = run(docker=stub, image="x", gpus=["0"], timeout=1)
    assert time.monotonic() - begin < 30
    assert rc == 1
    assert result["problem"]["code"] == "listing_timeout"
    assert "started" in result["problem"]["evidence"]
    started, removed = docker.argv()
    assert removed == ["rm", "--force", started[started.index("--name") + 1]]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"docker": "/nonexistent/docker"}, "docker_missing"),
        ({"gpus": ["first"]}, "gpus_malformed"),
        ({"gpus": []}, "gpus_malformed"),
        ({"env": {"A": True}}, "env_value"),
        ({"env": {"DOCKER_HOST": "tcp://x"}}, "env_name"),
        ({"env_file": "/nonexistent/secrets.env"}, "file_unreadable"),
        ({"profile": "latency", "objective": "throughput"}, "profile_contradiction"),
    ],
)
def test_bad_options_of_the_run(docker, options, code):
    stub = docker(f"cat {FIXTURES}/nim_1.0.txt\n")
    rc, result = run(**dict({"docker": stub, "image": "x", "gpus": ["0"]}, **options))
    assert rc == 1
    assert result["problem"]["code"] == code
