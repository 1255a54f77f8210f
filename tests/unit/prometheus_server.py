# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Prometheus, for tests of what is to be watched."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from urllib.parse import quote

import yaml
from haproxy_gateway import free_port


class Prometheus:
    """The distribution's Prometheus with what the role has written in folder (Path)."""

    def __init__(self, folder):
        config = yaml.safe_load((folder / "scrape_configs.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [f"{folder}/rules/*.yml"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self.log = (folder / "log").open("w")
        command.append(f"--web.listen-address={self.address}")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

    def ask(self, query):
        """The series (list of dict) of a query; empty while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://{self.address}/api/v1/query?query={quote(query)}", timeout=10
            ) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
