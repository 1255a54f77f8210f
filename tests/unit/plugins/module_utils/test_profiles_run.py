# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The docker command that lists profiles, what must not be shown, what its failures mean."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _profile_run as docker_run
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

KEY = "nvapi-0123456789abcdef"


def test_command():
    command = docker_run.listing_command(
        "/usr/bin/docker",
        "nim-profiles-1",
        "nvcr.io/nim/acme/wren:1.8.6",
        ["0", "1"],
        user="1000:0",
        env={"NIM_FT_MODEL": "/model", "HF_TOKEN": "hf_0123456789", "HOME": "/tmp"},
        env_file="/var/lib/nim/wren/secrets.env",
        volumes=["/var/lib/nim/wren/cache:/opt/nim/.cache"],
        shm_size="16g",
    )
    assert command == [
        "/usr/bin/docker",
        "run",
        "--rm",
        "--name",
        "nim-profiles-1",
        "--pull",
        "never",
        *["--cap-drop", "ALL", "--security-opt", "no-new-privileges"],
        "--gpus",
        '"device=0,1"',
        "-u",
        "1000:0",
        "--env-file",
        "/var/lib/nim/wren/secrets.env",
        "-e",
        "HF_TOKEN",
        "-e",
        "HOME=/tmp",
        "-e",
        "NIM_FT_MODEL",
        "-v",
        "/var/lib/nim/wren/cache:/opt/nim/.cache",
        "--shm-size",
        "16g",
        "nvcr.io/nim/acme/wren:1.8.6",
        "list-model-profiles",
    ]


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        (["0"], "device=0"),
        (["0", "3"], '"device=0,3"'),
        (["GPU-7f3c2a10-1111-2222-3333-444455556666"], "device=GPU-7f3c2a10-1111-2222-3333-444455556666"),
        (["all"], "all"),
    ],
)
def test_device_request(gpus, request_):
    assert docker_run.device_request(gpus) == request_


@pytest.mark.parametrize("gpus", [[], ["-1"], ["0", "all"], ["0,1"], ['0"'], [""], ["first"]])
def test_device_request_refuses(gpus):
    with pytest.raises(Problem) as caught:
        docker_run.device_request(gpus)
    assert caught.value.code == "gpus_malformed"


def test_container_env():
    assert docker_run.container_env({"A": "x", "B": 1, "C": 0.5}) == {"A": "x", "B": "1", "C": "0.5"}
    for wrong, code in (
        ({"A": True}, "env_value"),
        ({"A": None}, "env_value"),
        ({"A": ["x"]}, "env_value"),
        ({"A=B": "x"}, "env_name"),
        ({"": "x"}, "env_name"),
        ({"DOCKER_HOST": "tcp://x"}, "env_name"),
    ):
        with pytest.raises(Problem) as caught:
            docker_run.container_env(wrong)
        assert caught.value.code == code


def test_client_env_keeps_what_docker_reads_itself():
    wanted = {"HOME": "/tmp", "NIM_X": "1", "SSL_CERT_FILE": "/c"}
    env = docker_run.client_env({"PATH": "/bin", "HOME": "/root"}, wanted)
    assert env == {"PATH": "/bin", "HOME": "/root", "NIM_X": "1"}


def test_read_env_file():
    text = f"# the key\nNGC_API_KEY={KEY}\n\nHTTPS_PROXY=http://u:p@proxy:3128/?a=b\nPASSED_ON\n"
    assert docker_run.read_env_file(text) == {"NGC_API_KEY": KEY, "HTTPS_PROXY": "http://u:p@proxy:3128/?a=b"}


def test_by_cdi_each_gpu_is_a_device():
    command = docker_run.listing_command("docker", "x", "image", ["0", "GPU-1"], gpu_mode="cdi")
    assert command[-6:-2] == ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=GPU-1"]
    assert "--gpus" not in command
    with pytest.raises(Problem):
        docker_run.listing_command("docker", "x", "image", ["0 --privileged"], gpu_mode="cdi")


def test_without_secrets():
    said = f"key {KEY}, token hf_abcdefghij, proxy http://user:pass@proxy:3128, value s3cret!"
    hidden = docker_run.without_secrets(said, {"s3cret!"})
    assert hidden == "key ********, token ********, proxy http://********@proxy:3128, value ********"


def test_without_secrets_masks_the_longer_of_two():
    assert docker_run.without_secrets("abcdef abc", {"abc", "abcdef"}) == "******** ********"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("docker: Error response from daemon: No such image: nvcr.io/nim/acme/wren:9.", "image_missing"),
        ("Unable to find image 'x' locally\ndocker: Error response from daemon: manifest unknown.", "image_unknown"),
        (
            'docker: Error response from daemon: could not select device driver "cdi" with capabilities: [].',
            "cdi_off",
        ),
        (
            "Error response from daemon: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7",
            "cdi_device_missing",
        ),
        (
            'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].',
            "toolkit_missing",
        ),
        ("nvidia-container-cli: device error: 7: unknown device: unknown.", "gpu_unknown"),
        ("requirement error: unsatisfied condition: cuda>=12.5, please update your driver", "driver_too_old"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.", "driver_not_loaded"),
        ("docker: permission denied while trying to connect to the Docker daemon socket at x", "docker_permission"),
        ("docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "docker_unreachable"),
        ('exec: "list-model-profiles": executable file not found in $PATH: unknown.', "not_a_nim"),
        ("ManifestDownloadError: I/O error Permission denied (os error 13)", "cache_not_writable"),
        ("ManifestDownloadError: Authentication Error", "ngc_key_refused"),
        ("error sending request for url (https://api.ngc.nvidia.com/v2/org)", "ngc_unreachable"),
        ("something else", "listing_failed"),
        ("", "listing_failed"),
    ],
)
def test_run_problem(output, code):
    problem = docker_run.run_problem(125, output, "nvcr.io/nim/acme/wren:9")
    assert problem.code == code
    assert "nvcr.io/nim/acme/wren:9" in problem.what
    assert problem.evidence.startswith("docker ended with status 125")
    assert output.split("\n")[-1] in problem.evidence
    assert problem.remedy


def test_evidence_is_the_last_lines():
    problem = docker_run.run_problem(1, "\n".join(f"line {number}" for number in range(100)), "x")
    assert "line 99" in problem.evidence
    assert "line 84\n" not in problem.evidence


@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("echo MODEL PROFILES; printf ' - 0a'; echo INFO >&2; echo '1b (x)'", "INFO\n\nMODEL PROFILES\n - 0a1b (x)\n"),
        ("printf MODEL >&2; echo banner; echo ' PROFILES' >&2", "banner\n\nMODEL PROFILES\n"),
        ("echo broken >&2; echo banner; exit 3", "banner\n\nbroken\n"),
    ],
    ids=["listing on stdout", "listing on stderr", "no listing"],
)
def test_neither_stream_breaks_a_line_of_the_other_and_the_one_that_tells_comes_last(script, output):
    rc, found = docker_run.run(["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, 60)
    assert (rc, found) == (3 if "exit 3" in script else 0, output)


def test_what_takes_too_long_is_killed_with_all_that_it_started():
    rc, found = docker_run.run(["sh", "-c", "echo begun; sleep 600 & wait"], {"PATH": "/usr/bin:/bin"}, 1)
    assert rc is None
    assert "begun" in found
