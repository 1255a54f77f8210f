"""A site of hosts as network namespaces: a hub behind a narrow WAN, and hosts on a LAN, each with a disk of its own.
Needs root, ip, tc, ethtool and mount. What it makes goes at its end; sites of other names can be up at once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
# Ethernet, IP and TCP with timestamps: what a packet has before its payload.
HEADERS = 66


def sh(command):
    subprocess.run(command, shell=True, check=True)


class Host:
    """A namespace called name with an address, and what runs in it."""

    def __init__(self, name, address, disk):
        self.name, self.address, self.disk = name, address, disk
        self.running = []

    def start(self, *command, **environment):
        """A process of its own session in the namespace."""
        inherited = {"PATH": os.environ["PATH"], "HOME": str(self.disk), "LC_ALL": "C", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *map(str, command)],
            env={**inherited, **environment},
            cwd=self.disk,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def kill(self):
        """What the loss of power is to its processes, those included that have left the session of who began them."""
        while alive := subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True
        ).stdout.split():
            for process in alive:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(int(process), signal.SIGKILL)
        for process in self.running:
            process.wait()
        self.running = []


class Site:
    """hub, a cache beside it, and count hosts; wan and lan in Mbit/s.

    Their disks are in memory, or, where folder is given, images with ext4 beneath it: slower, and as many as it has
    room for.
    """

    def __init__(self, name, count, wan, lan, folder=None):
        self.name, self.wan, self.lan = name, wan, lan
        self.root, self._images = (folder or MEMORY) / f"bench-{name}", folder is not None
        self._switch = f"{name}-lan"
        self.hub = self._host("hub", 2)
        self.cache = self._host("cache", 3)
        self.hosts = [self._host(f"h{number:02}", 10 + number) for number in range(count)]
        self.peak, self._watching = 0, threading.Event()

    def _host(self, name, number):
        return Host(f"{self.name}-{name}", f"10.84.0.{number}", self.root / name)

    def __enter__(self):
        self._remove()
        sh(f"ip netns add {self._switch} && ip -n {self._switch} link add br0 type bridge")
        sh(f"ip -n {self._switch} link set br0 up")
        for host in (self.hub, self.cache, *self.hosts):
            self._connect(host)
        return self

    def _connect(self, host):
        here, there, outer = f"ip -n {host.name}", f"ip -n {self._switch}", host.name[-15:]
        sh(f"ip netns add {host.name} && {here} link set lo up")
        sh(f"ip link add eth0 netns {host.name} type veth peer name {outer} netns {self._switch}")
        sh(f"{here} addr add {host.address}/24 dev eth0 && {here} link set eth0 up")
        sh(f"{there} link set {outer} master br0 && {there} link set {outer} up")
        for inside, device in ((host.name, "eth0"), (self._switch, outer)):
            rate = self.wan if host is self.hub and device == "eth0" else self.lan
            sh(f"tc -n {inside} qdisc add dev {device} root tbf rate {rate}mbit burst 128kb latency 200ms")
        if host is self.hub:  # packets as they would be on the wire, so that they can be counted
            sh(f"ip netns exec {host.name} ethtool -K eth0 tso off gso off >/dev/null")
        host.disk.mkdir(parents=True)
        self._empty_disk(host)

    def _empty_disk(self, host):
        if not self._images:
            sh(f"mount -t tmpfs tmpfs {host.disk}")
            return
        image = host.disk.with_suffix(".ext4")
        image.unlink(missing_ok=True)
        sh(f"truncate --size 8G {image} && mkfs.ext4 -q -m 0 -O ^has_journal {image}")
        sh(f"mount -o loop {image} {host.disk}")

    def __exit__(self, *_error):
        self.unwatch()
        for host in (self.hub, self.cache, *self.hosts):
            host.kill()
        self._remove()

    def _remove(self):
        for line in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.splitlines():
            if line.split()[0].startswith(f"{self.name}-"):
                sh(f"ip netns del {line.split()[0]}")
        for disk in self.root.glob("*"):
            subprocess.run(["umount", "--lazy", disk], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def clear(self, keep=()):
        """Hosts on which nothing runs, with empty disks, but for those to keep."""
        for host in (self.cache, *self.hosts):
            host.kill()
            if host not in keep:
                sh(f"umount --lazy {host.disk}")
                self._empty_disk(host)
        self.peak = 0

    def wan_bytes(self):
        """The payload that the hub has sent so far, repetitions included."""
        command = ["ip", "-n", self.hub.name, "-json", "-stats", "link", "show", "eth0"]
        sent = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]["stats64"]["tx"]
        return sent["bytes"] - HEADERS * sent["packets"]

    def watch(self):
        """Looks at the disks of the hosts from now on until unwatch(); peak is the most that one has held, in bytes."""
        self._watching = threading.Event()
        threading.Thread(target=self._look, args=(self._watching,), daemon=True).start()

    def _look(self, ended):
        while not ended.wait(0.1):
            with suppress(FileNotFoundError):  # the site is being taken down
                self.peak = max(self.peak, *map(self.used, self.hosts))

    def unwatch(self):
        self._watching.set()

    @staticmethod
    def used(host):
        """The bytes on a host's disk."""
        disk = os.statvfs(host.disk)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize
