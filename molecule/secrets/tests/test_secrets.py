"""Secrets lie where they are meant to and nowhere else, however much is printed and whatever fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.extend([str(Path(__file__).resolve().parents[2] / "shared"), str(Path(__file__).resolve().parents[1])])

import searching

import lab

HOST, GATEWAY = "gpu2", "gateway"
INVENTORIES = (lab.INVENTORY, "molecule/secrets/inventory")
# Where a secret may lie; docs/security.md says the same, which a unit test compares.
PLACES = json.loads(Path(__file__).parents[1].joinpath("places.json").read_text())
# Parts of deploy.yml and rollback.yml, and the lab's own.
PARTS = {"activate", "reach_gateways", "stage", "lab_up", "lab_down"}
LOOKING = ["status", "history", "verify", "diagnose", "check", "report"]


class Story:
    """All that is run, with what is left of it.

    planted: input with secrets in it. control: what the control node has besides (home, logs, caches). secrets: dict of
    name to list of str. outputs: dict of run to what it printed.
    """

    def __init__(self, folder):
        self.planted, self.control = folder / "planted", folder / "control"
        for one in (self.planted, self.control / "home", self.control / "tmp"):
            one.mkdir(parents=True, mode=0o700)
        self.pem = self.certificate()
        self.secrets = {
            "NGC key": [lab.KEY, "nvapi-lab-marked-and-wrong"],
            "hub token": [lab.TOKEN, "hf_marked_and_wrong"],
            "gateway key": ["marked-gateway-0123456789abcdef", "marked-gateway-fedcba9876543210"],
            "TLS key": re.findall(r"^[\w+/=]{40,}$", (self.planted / "gateway.key").read_text(), re.MULTILINE)[:1],
            "model's own variable": ["marked-variable-0123456789abcdef"],
        }
        self.wanted = searching.needles(self.secrets)
        self.vault()
        self.outputs = {}

    def certificate(self):
        """The certificate of the gateway and its key in one file, whose path (str) it returns."""
        key, certificate = self.planted / "gateway.key", self.planted / "gateway.crt"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=gateway"]
        make += ["-addext", "subjectAltName=IP:10.83.0.10", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(make, check=True, capture_output=True)
        both = self.planted / "gateway.pem"
        both.touch(mode=0o600)
        both.write_text(certificate.read_text() + key.read_text())
        return str(both)

    def vault(self):
        """Two vaults: right.yml, and wrong.yml with keys that nobody accepts."""
        (self.planted / "password").write_text("lab\n")
        for number, name in enumerate(("right.yml", "wrong.yml")):
            values = {
                "ngc_api_key": self.secrets["NGC key"][number],
                "weights_hf_token": self.secrets["hub token"][number],
                "gateway_api_keys": self.secrets["gateway key"],
                "vaulted_token": self.secrets["model's own variable"][0],
            }
            encrypt = ["ansible-vault", "encrypt", "--vault-password-file", str(self.planted / "password")]
            subprocess.run(
                [*encrypt, "--output", str(self.planted / name)],
                input=yaml.safe_dump(values),
                text=True,
                check=True,
                capture_output=True,
            )

    def environment(self):
        control = self.control
        return {
            "HOME": str(control / "home"),
            "TMPDIR": str(control / "tmp"),
            "ANSIBLE_LOCAL_TEMP": str(control / "tmp" / "ansible"),
            # A path of a socket is short.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": os.path.expanduser("~/.ansible/cp"),
            "ANSIBLE_LOG_PATH": str(control / "ansible.log"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit,ansible.builtin.tree",
            "ANSIBLE_CALLBACK_TREE_DIR": str(control / "tree"),
            "JUNIT_OUTPUT_DIR": str(control / "junit"),
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(control / "facts"),
        }

    def begin(self, name, *options, vault="right.yml", **variables):
        options = [*options, "-vvvv", "--diff", "--vault-password-file", str(self.planted / "password")]
        options += ["-e", f"@{self.planted / vault}", "--limit", f"{HOST},{GATEWAY}"]
        variables = {
            "nim_gateway_scheme": "https",
            "nim_gateway_ca": str(self.planted / "gateway.crt"),
            "gateway_tls_pem": self.pem,
            **variables,
        }
        return lab.begin(name, *options, inventories=INVENTORIES, environment=self.environment(), **variables)

    def end(self, run, process):
        """Keeps what the process printed under the name of the run; its exit status."""
        self.outputs[run] = process.communicate()[0]
        return process.returncode

    def run(self, run, name, *options, **more):
        return self.end(run, self.begin(name, *options, **more))

    def tell(self):
        """Runs every playbook; each run must end as it is meant to, or it would prove nothing."""
        ended = {
            "plan of a bare host": self.run("plan of a bare host", "plan"),
            "deploy with wrong keys": self.run("deploy with wrong keys", "deploy", vault="wrong.yml"),
            "deploy": self.run("deploy", "deploy"),
        }
        self.first = self.variables_of_what_runs()
        failing = {"lab_env": {"LAB_CRASH": "before-ready"}}
        ended["deploy that fails"] = self.run("deploy that fails", "deploy", **failing)
        ended["next deploy"] = self.run("next deploy", "deploy", lab_env={"LAB_NOTE": "next"})
        self.next = self.variables_of_what_runs()
        page = str(self.control / "report.html")
        side_by_side = {name: self.begin(name, nim_report_file=page) for name in LOOKING}
        ended |= {name: self.end(name, process) for name, process in side_by_side.items()}
        packed = {"nim_bundle_host": HOST, "nim_bundle": str(self.control / "bundle")}
        ended["bundle"] = self.run("bundle", "bundle", lab_env={"LAB_NOTE": "next"}, **packed)
        # Not in the home that is searched: AIPerf takes more than a gigabyte.
        measured = {"nim_aiperf_dir": str(lab.ROOT / ".lab" / "aiperf"), "nim_benchmark_gateway": True}
        measured |= {"nim_benchmark_concurrency": [1], "nim_benchmark_requests": 4, "nim_benchmark_output_tokens": 8}
        ended["benchmark"] = self.run("benchmark", "benchmark", nim_benchmark_input_tokens=16, **measured)
        for name in ("gateway", "rollback", "prune", "watch"):
            ended[name] = self.run(name, name)
        return ended

    @staticmethod
    def variables_of_what_runs():
        running = "docker inspect $(docker ps -q --filter label=llmops.nim.model=capitals)"
        (container,) = json.loads(lab.run(HOST, running))
        return dict(one.partition("=")[::2] for one in container["Config"]["Env"])


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    told = Story(tmp_path_factory.mktemp("story"))
    told.since = float(lab.run(HOST, "date +%s"))
    with searching.watched([HOST, GATEWAY]) as told.watched:
        told.ended = told.tell()
    return told


def test_every_run_ended_as_it_was_meant_to(story):
    failed = {run for run, status in story.ended.items() if status}
    outputs = {run: story.outputs[run][-3000:] for run in failed}
    assert failed == {"deploy with wrong keys", "deploy that fails"}, outputs


def test_every_playbook_was_run(story):
    names = {path.stem for path in (lab.ROOT / "playbooks").glob("*.yml")}
    assert names - PARTS <= {run.split()[-1] for run in story.outputs} | {"plan", "deploy"}


def test_no_run_shows_a_secret(story):
    shown = {run: searching.in_bytes(text.encode(), story.wanted) for run, text in story.outputs.items()}
    assert {run: names for run, names in shown.items() if names} == {}


def test_a_run_leaves_no_secret_on_the_control_node(story):
    files = [path for path in story.control.rglob("*") if path.is_file()]
    kinds = {path.relative_to(story.control).parts[0] for path in files}
    assert {"ansible.log", "junit", "tree"} <= kinds, "what was to be searched is not there"
    found = {str(path): searching.in_bytes(path.read_bytes(), story.wanted) for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_other_user_sees_one(story):
    assert story.watched.found(story.wanted) == set()


def pattern(path):
    """The paths of a place, whose <words> stand for one part each."""
    return re.compile(re.sub(r"<\w+>", "[^/ ]+", path))


def test_on_the_servers_they_lie_where_they_are_meant_to(story):
    found = [
        dict(one, host=host) for host in (HOST, GATEWAY) for one in searching.on_server(host, story.since, story.wanted)
    ]
    wrong, used = [], set()
    for one in found:
        place = next(
            (
                number
                for number, place in enumerate(PLACES)
                if place["host"] == one["host"] and pattern(place["path"]).fullmatch(one["path"])
            ),
            None,
        )
        if (
            place is None
            or (one["owner"], one["mode"]) != (PLACES[place]["owner"], PLACES[place]["mode"])
            or not set(one["secrets"]) <= set(PLACES[place]["secrets"])
        ):
            wrong.append(one)
        used |= {(place, name) for name in one["secrets"]}
    assert wrong == []
    # And what is said to be there is there.
    assert used == {(number, name) for number, place in enumerate(PLACES) for name in place["secrets"]}


def test_a_container_has_the_key_only_while_it_may_have_to_download(story):
    assert story.first["NGC_API_KEY"] == lab.KEY
    assert story.next["NGC_API_KEY"] == ""


def test_the_container_gets_the_variable_itself_and_not_its_stars(story):
    assert story.next["LAB_VAULTED_TOKEN"] == story.secrets["model's own variable"][0]


def test_nothing_is_open_to_other_users(story):
    open_to_others = "find /var/lib/nim -mindepth 0 ! -type l -perm /027 ! -path '*/cache' ! -path '*/cache/*'"
    assert lab.run(HOST, open_to_others) == ""
    assert lab.run(HOST, "find /var/lib/nim ! -type l -perm /007 -path '*/cache'") == ""


def test_the_endpoint_is_bound_to_its_address_alone(story):
    assert lab.run(HOST, "ss -Hltn sport = :8000 | awk '{print $4}'").split() == ["10.83.0.12:8000"]
