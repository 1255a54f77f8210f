# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""C(list-model-profiles) by the docker command: its arguments, what must not be shown, what a failure means.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess

from ansible_collections.llmops.nim.plugins.module_utils._cdi import KIND
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import CDI, HOOK
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked

_GPU = re.compile(r"\d{1,4}|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADING = "MODEL PROFILES"
# As the service itself has it.
CONFINED = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
# The docker command reads these itself, so the container's values must not stand in its environment. None is secret.
_CLIENTS_OWN = ("HOME", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE")


def listing_command(
    docker, name, image, gpus, user=None, env=(), env_file=None, volumes=(), shm_size=None, gpu_mode=HOOK
):
    """The arguments (list of str) that list the profiles, in a container of that name; docker is a path.

    gpus: list of str, indexes or UUIDs, or all. env: dict of str; raises Problem where it cannot be passed on.
    Values of env go by client_env(); an image that is not on the host is not pulled. gpu_mode: of _gpu_mode.MODES.
    """
    command = [docker, "run", "--rm", "--name", name, "--pull", "never", *CONFINED]
    wanted = device_request(gpus)
    if gpu_mode == CDI:
        for gpu in gpus:
            command += ["--device", f"{KIND}={gpu}"]
    else:
        command += ["--gpus", wanted]
    if user:
        command += ["-u", user]
    if env_file:
        command += ["--env-file", env_file]
    for variable in sorted(env):
        command += ["-e", f"{variable}={env[variable]}" if variable in _CLIENTS_OWN else variable]
    for volume in volumes:
        command += ["-v", volume]
    if shm_size:
        command += ["--shm-size", shm_size]
    return [*command, image, "list-model-profiles"]


def device_request(gpus):
    """The value (str) of docker's --gpus for gpus (list of str: indexes or UUIDs, or all alone)."""
    if gpus == ["all"]:
        return "all"
    wrong = [gpu for gpu in gpus if not _GPU.fullmatch(gpu)]
    if wrong or not gpus:
        raise Problem(
            "The GPUs for the listing are not given by index or UUID.",
            evidence=f"gpus: {gpus}",
            remedy='Give what the service will have, e.g. gpus: [0] or ["GPU-…"], or ["all"].',
            code="gpus_malformed",
        )
    # A comma parts docker's own fields, so several devices stand in double quotes, which docker itself reads.
    return f"device={gpus[0]}" if len(gpus) == 1 else f'"device={",".join(gpus)}"'


def container_env(env):
    """The variables (dict of str) for the container from the option env (dict); raises Problem."""
    clean = {}
    for variable, value in env.items():
        variable = str(variable)
        if not _VARIABLE.fullmatch(variable):
            raise Problem(
                f"{variable!r} is no name of an environment variable.",
                remedy="Use letters, digits and underscores.",
                code="env_name",
            )
        if variable.startswith("DOCKER_"):
            raise Problem(
                f"{variable} is read by the docker command itself and cannot be passed by it.",
                remedy="Leave it out of env.",
                code="env_name",
            )
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Problem(
                f"The value of {variable} in env is no text.",
                evidence=f"it is a {type(value).__name__}",
                remedy='Write it in quotes, as NIM should read it ("1", "true" …).',
                code="env_value",
            )
        clean[variable] = str(value)
    return clean


def client_env(environ, env):
    """The environment (dict of str) of the docker command: environ with the container's env, but for its own."""
    mixed = dict(environ)
    mixed.update({variable: value for variable, value in env.items() if variable not in _CLIENTS_OWN})
    return mixed


def read_env_file(text):
    """The variables (dict of str) in the text (str) of a docker env file."""
    pairs = (line.strip().partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def without_secrets(text, secrets):
    """The text (str) with the secrets (set of str), and what looks like a key of NGC or of the hub, masked."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return masked(text)


def last_lines(text, most=15):
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(line[:300] for line in lines[-most:])


def known_failure(output, image, evidence):
    """The Problem that the output (str) of a listing tells by a known message, or None."""
    causes = explain(output)
    if not causes:
        return None
    first = causes[0].problem
    what = f"The profiles of {image} cannot be listed. {first.what}"
    return Problem(what, evidence, first.remedy, first.code, first.source)


def run(command, environ, timeout):
    """(exit status, or None where it took longer than timeout seconds; all that was written, stdout and stderr).

    Read apart, since one pipe for both would break a line of the one by a line of the other. The listing, and where
    there is none what stderr says, comes last.
    """
    with subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            streams = process.communicate(timeout=timeout)
            rc = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            streams = process.communicate()
            rc = None
    texts = [stream.decode("utf-8", "replace") for stream in streams]
    texts.sort(key=lambda text: _HEADING in text)
    return rc, "\n".join(texts)


def run_problem(rc, output, image):
    """The Problem of a docker run that ended with rc (int) after its output (str)."""
    evidence = f"docker ended with status {rc}\n{last_lines(output)}"
    return known_failure(output, image, evidence) or Problem(
        f"The profiles of {image} cannot be listed: docker run failed.",
        evidence,
        "Mend what the last lines name.",
        "listing_failed",
    )
