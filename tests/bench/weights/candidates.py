"""What brings the weights to all hosts of a site, each way as its own manual would have it.

A candidate is started on hosts, also a second time where it was killed, and waited for: at its end each host has read
all files again and found their sha256 right.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ansible

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
NGINX = """
daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1; user root;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  proxy_cache_path {home}/cache keys_zone=weights:10m max_size=100g inactive=1d use_temp_path=off;
  server {{
    listen 80;
    proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection "";
    location /lfs/ {{
      slice 1m; proxy_cache weights; proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h;
      proxy_cache_key $uri$slice_range;
      proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1d; proxy_pass http://{hub};
    }}
    location / {{ proxy_pass http://{hub}; }}
  }}
}}
"""
RSYNC = "use chroot = no\nuid = root\ngid = root\n[weights]\npath = {home}/w\nread only = yes\n"
PROVE = "sha256sum --check --quiet {sums}"


class Failed(Exception):
    pass


def finish(process):
    output, _nothing = process.communicate()
    if process.returncode:
        raise Failed(output)
    return output


class Candidate:
    """own: whether every host asks the hub by itself. name: as it stands in the table."""

    name, own = "", True

    def __init__(self, site, sums):
        self.site, self.prove = site, PROVE.format(sums=sums)
        self.jobs = []

    def start(self, hosts):
        pool = ThreadPoolExecutor(len(hosts))
        for number, host in enumerate(hosts):
            self.jobs.append(pool.submit(self.bring, number, host))

    def wait(self):
        for job in self.jobs:
            job.result()

    def finish(self):
        """What is left to do when all is proven, and is no part of the time."""

    def bring(self, number, host):
        """The weights on one host, proven."""
        finish(host.start("sh", "-euc", self.script(self.site.hub.address)))

    def script(self, hub):
        raise NotImplementedError


class GitLfs(Candidate):
    name = "git-lfs on every host"

    def script(self, hub):
        return (
            f"[ -d w ] || GIT_LFS_SKIP_SMUDGE=1 git clone --quiet http://{hub}/lab/random w\n"
            f"cd w && git lfs pull && {self.prove}"
        )


class HfDownload(Candidate):
    name = "`hf download` on every host"

    def script(self, hub):
        return (
            f"export HF_ENDPOINT=http://{hub} HF_HUB_DISABLE_XET=1 HF_HUB_DISABLE_TELEMETRY=1\n"
            f"{Path(sys.executable).parent}/hf download --quiet lab/random --local-dir w && cd w && {self.prove}"
        )


class NginxCache(GitLfs):
    name, own = "nginx slice cache before all hosts, git-lfs on every host", False

    def start(self, hosts):
        cache = self.site.cache
        config = cache.disk / "nginx.conf"
        config.write_text(NGINX.format(home=cache.disk, hub=self.site.hub.address))
        cache.start("/usr/sbin/nginx", "-c", config)
        finish(cache.start("sh", "-c", "until curl -s -o /dev/null http://localhost/; do sleep 0.1; done"))
        super().start(hosts)

    def script(self, hub):
        return super().script(self.site.cache.address)


class Seeded(GitLfs):
    """The first host has them from the hub, the others from hosts that have them."""

    own = False

    def bring(self, number, host):
        if number == 0:
            return super().bring(number, host)
        return self.receive(number, host)

    def receive(self, number, host):
        raise NotImplementedError


class RsyncTree(Seeded):
    name = "git-lfs on one host, then rsync in a binary tree"

    def start(self, hosts):
        self.hosts = hosts
        for host in hosts:
            (host.disk / "rsyncd.conf").write_text(RSYNC.format(home=host.disk))
            host.start("rsync", "--daemon", "--no-detach", "--config", host.disk / "rsyncd.conf", "--port", "873")
        super().start(hosts)

    def receive(self, number, host):
        parent = (number - 1) // 2
        self.jobs[parent].result()
        source = f"rsync://{self.hosts[parent].address}/weights/"
        finish(host.start("sh", "-euc", f"rsync -a --partial --exclude .git {source} w && cd w && {self.prove}"))


class Bulk(Seeded):
    name = "git-lfs on one host, then one torrent (libtorrent)"

    def start(self, hosts):
        self.addresses = [host.address for host in hosts]
        self.torrent = self.site.root / "torrent"
        self.torrent.unlink(missing_ok=True)
        super().start(hosts)

    def bring(self, number, host):
        if number == 0:
            finish(host.start("sh", "-euc", self.script(self.site.hub.address)))
        swarm = host.start("/usr/bin/python3", HERE / "bulk.py", self.torrent, host.disk, host.address, *self.addresses)
        if number == 0:
            return
        for line in swarm.stdout:
            if line == "complete\n":
                break
        else:
            raise Failed("the swarm ended")
        finish(host.start("sh", "-euc", f"cd w && {self.prove}"))


class Fleet(Candidate):
    """Ours: lfs_snapshot on the first host, and weights_swarm on all of them at the same time."""

    name, own = "`weights_source: fleet`", False
    transfers = 1

    def start(self, hosts):
        repository = self.site.hub.disk / "hub" / "lab" / "random.git"
        commit = subprocess.check_output(["git", "-C", repository, "rev-parse", "main"], text=True).strip()
        self.wanted = {"repo": "lab/random", "commit": commit, "reserve_bytes": 0}
        self.addresses, self.secret, self.received = [host.address for host in hosts], secrets.token_hex(), []
        self.wan = self.site.wan_bytes()
        super().start(hosts)

    def bring(self, number, host):
        # Sixteen starts at once would hold up the seed on a machine that plays sixteen hosts, and on no other.
        while number and not self.jobs[0].done() and self.site.wan_bytes() - self.wan < 2**20:
            time.sleep(0.1)
        swarm = {"peers": self.addresses, "seed": self.addresses[0], "address": host.address, "secret": self.secret}
        if len(self.addresses) > 1:
            finish(self.module(host, "weights_swarm", state="started", **swarm, **self.wanted))
        if number == 0:
            wanted = dict(self.wanted, endpoint=f"http://{self.site.hub.address}", transfers=self.transfers)
            wanted["revision"] = wanted.pop("commit")
            finish(self.module(host, "lfs_snapshot", **wanted))
            return
        # Read here, since sixteen more processes that wait would be felt on a machine that plays sixteen hosts.
        place = host.disk / "weights" / "fleet" / f"lab--random@{self.wanted['commit']}"
        while (phase := self.phase(place / "status.json")) != "complete":
            if phase == "failed":
                raise Failed((place / "status.json").read_text())
            time.sleep(0.1)
        self.received.append((host, place / "parcel"))

    @staticmethod
    def phase(status):
        return json.loads(status.read_text())["phase"] if status.exists() else None

    def finish(self):
        for host, parcel in self.received:
            finish(self.module(host, "weights_import", directory=str(parcel), move=True, **self.wanted))

    def module(self, host, name, **options):
        """A module of the collection, started on a host as Ansible would."""
        arguments = host.disk / f"{name}-{len(host.running)}.json"
        arguments.write_text(
            json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "weights_dir": str(host.disk / "weights")}})
        )
        full = f"ansible_collections.llmops.nim.plugins.modules.{name}"
        path = f"{ROOT / 'collections'}:{Path(ansible.__file__).parents[1]}"
        return host.start("/usr/bin/python3", "-m", full, arguments, PYTHONPATH=path)


PEERS = {"git_lfs": GitLfs, "hf": HfDownload}
RIVALS = {"nginx": NginxCache, "rsync": RsyncTree, "bulk": Bulk, "fleet": Fleet}
