# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import os
import shutil
import stat
import sys
import time

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _host


def test_run():
    result = _host.run([sys.executable, "-c", "import sys; print('out'); sys.stderr.write('err'); sys.exit(3)"])
    assert result == _host.Result(3, "out\n", "err")


def test_a_command_that_is_missing():
    result = _host.run(["no-such-command-anywhere"])
    assert result.missing
    assert result.rc == 127
    assert "no-such-command-anywhere" in result.err


def test_a_command_that_may_not_run(tmp_path):
    (tmp_path / "tool").write_text("")
    result = _host.run([str(tmp_path / "tool")])
    assert (result.rc, result.missing) == (126, False)


def test_a_command_that_hangs_is_given_up():
    started = time.monotonic()
    result = _host.run([sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"], timeout=0.2)
    assert time.monotonic() - started < 30
    assert result.rc == 124
    assert "did not end within 0.2 s" in result.err


def test_commands_run_in_the_c_locale_without_input():
    result = _host.run([sys.executable, "-c", "import os, sys; print(os.environ['LC_ALL'], repr(sys.stdin.read()))"])
    assert result.out == "C ''\n"


def test_bytes_that_are_no_text_do_no_harm():
    assert _host.run([sys.executable, "-c", "import os; os.write(1, b'\\xff!')"]).out == "\ufffd!"


def test_commands_run_at_the_same_time(tmp_path):
    """Each waits for the file that the other makes."""
    code = (
        "import pathlib, sys, time\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "sys.exit(not other.exists())\n"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    started = time.monotonic()
    results = _host.run_all({"a": [sys.executable, "-c", code, a, b], "b": [sys.executable, "-c", code, b, a]})
    assert {name: result.rc for name, result in results.items()} == {"a": 0, "b": 0}
    assert time.monotonic() - started < 20
    assert _host.run_all({}) == {}


@pytest.mark.parametrize(
    ("printed", "pattern", "version"),
    [
        ("git version 2.39.5\n", r"version ([0-9.]+)", "2.39.5"),
        ("something else", r"version ([0-9.]+)", None),
    ],
)
def test_version_in(printed, pattern, version):
    assert _host.version_in(_host.Result(0, printed, ""), pattern) == version
    assert _host.version_in(_host.Result(1, printed, ""), pattern) is None


def test_memory():
    assert _host.memory("MemTotal:       24684096 kB\nMemFree: 1 kB\nMemAvailable:   10240 kB\n") == (24105, 10)
    assert _host.memory("") == (None, None)


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="20.04"\n', "debian"),
        ("ID=debian\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "rhel"),
        ("ID=fedora\n", "rhel"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ("ID=arch\n", "arch"),
        ("", "linux"),
    ],
)
def test_os_release(text, family):
    assert _host.os_release(text)["family"] == family


def test_os_release_version():
    assert _host.os_release('ID=ubuntu\nVERSION_ID="20.04"\n')["version"] == "20.04"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17 22:55:48 UTC 2024\nGCC: 12\n",
            "535.161.07",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (dvs)\n",
            "580.159.04",
        ),
        ("", None),
    ],
)
def test_module_version(text, version):
    assert _host.module_version(text) == version


def test_pci_devices(tmp_path):
    for name, vendor, device, kind in (
        ("0000:00:06.0", "0x10de", "0x2330", "0x030200"),
        ("0000:00:07.0", "0x10de", "0x22a3", "0x068000"),
        ("0000:00:02.0", "0x1234", "0x1111", "0x030000"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in (("vendor", vendor), ("device", device), ("class", kind)):
            (folder / file).write_text(text + "\n")
    assert _host.pci_devices(str(tmp_path)) == ["0000:00:06.0 2330:10de"]
    assert _host.pci_devices(str(tmp_path / "none")) == []


def test_disk_of_a_path_that_is_not_there_yet(tmp_path):
    disk = _host.disk("weights", str(tmp_path / "not" / "there"))
    assert disk["purpose"] == "weights"
    assert disk["path"] == str(tmp_path)
    assert os.path.ismount(disk["mount"])
    assert str(tmp_path).startswith(disk["mount"])
    usage = shutil.disk_usage(tmp_path)
    assert disk["total_bytes"] == pytest.approx(usage.total, rel=0.1)
    assert disk["free_bytes"] == pytest.approx(usage.free, rel=0.1)
    assert disk["device"] == _host.disk("cache", str(tmp_path))["device"]


def test_disk_beside_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert _host.disk("cache", str(tmp_path / "file" / "cache"))["path"] == str(tmp_path)


def test_facts():
    facts = _host.facts()
    assert facts["cpus"] >= 1
    assert facts["memory_mib"] > facts["memory_available_mib"] > 0
    assert facts["python"]["version"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert set(facts["python"]) == {"version", "requests", "libtorrent"}


def test_python_says_whether_there_is_requests(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert _host.python()["requests"] is None
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests" / "__init__.py").write_text("")
    assert _host.python()["requests"] == "unknown"
    (tmp_path / "requests-2.31.0.dist-info").mkdir()
    (tmp_path / "requests-2.31.0.dist-info" / "METADATA").write_text("Name: requests\nVersion: 2.31.0\n")
    # The import system remembers what a folder holds.
    sys.path_importer_cache.pop(str(tmp_path), None)
    assert _host.python()["requests"] == "2.31.0"


def test_read(tmp_path):
    assert _host.read(str(tmp_path / "none")) == ""
    file = tmp_path / "file"
    file.write_text("text")
    assert _host.read(str(file)) == "text"
    assert stat.S_ISREG(file.stat().st_mode)
