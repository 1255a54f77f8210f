# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What HAProxy says, read; and the file that it reads, written."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _haproxy, _haproxy_processes

# Answers of HAProxy 2.6.12, the second one cut to the columns that matter.
STATE = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
srv_agent_port
3 nim_m 1 gpu1_a 10.0.0.1 2 0 1 1 7 15 3 3 6 0 0 0 - 8000 - 0 0 - - 0
3 nim_m 2 gpu1_b 10.0.0.1 0 1 1 1 29 8 2 0 14 0 0 0 - 18000 - 0 0 - - 0
3 nim_m 3 gpu2_a 10.0.0.2 2 8 1 1 1 15 3 1 6 0 0 0 - 8000 - 0 0 - - 0
3 nim_m 4 gpu2_b 10.0.0.2 0 0 1 1 1 8 2 0 6 0 0 0 - 18000 - 0 0 - - 0

"""
COLUMNS = "# pxname,svname,qcur,scur,status,check_status,check_code,last_chk,check_desc,check_rise,check_health"
STAT = (
    COLUMNS
    + """
nim_m,FRONTEND,,4,OPEN,,,,,,
nim_m,gpu1_a,0,3,UP,L7OK,200,,Layer7 check passed,1,3
nim_m,gpu1_b,0,0,MAINT,L4CON,,Connection refused,Layer4 connection problem,1,0
nim_m,gpu2_a,0,1,DRAIN,* L7OK,200,,Layer7 check passed,1,1
nim_m,gpu2_b,0,0,DOWN,INI,,"a, b",Initializing,1,0
nim_m,BACKEND,0,4,UP,,,,,,
"""
)
CONFIG = """# x
frontend nim_m
    bind 0.0.0.0:9000

backend nim_m
    option httpchk GET /v1/health/ready
    default-server check
    server gpu1_a 10.0.0.1:8000
    server gpu1_b 10.0.0.1:18001
    server gpu3_a 2001:db8::3:8000
"""


def test_servers():
    one, two, three, four = _haproxy.servers(STATE, STAT)
    assert one == _haproxy.Server(
        "nim_m", "gpu1_a", "10.0.0.1", 8000, "ready", True, True, True, "L7OK 200 Layer7 check passed", 3
    )
    assert (two.state, two.up, two.proven, two.check) == ("maint", False, False, "L4CON Connection refused")
    # No check has passed since it left maintenance, however long ago one did.
    assert (three.state, three.up, three.proven, three.sessions) == ("drain", True, False, 1)
    assert (four.state, four.up, four.checked, four.check) == ("ready", False, False, "INI a, b")


@pytest.mark.parametrize(("stat", "state"), [(COLUMNS, STATE), (STAT, ""), (STAT, "1\n"), ("", "")])
def test_no_servers(stat, state):
    assert _haproxy.servers(state, stat) == []


@given(st.integers(min_value=0, max_value=127))
def test_maintenance_outweighs_drain(bits):
    line = next(line for line in STATE.splitlines() if "gpu1_a" in line)
    state = STATE.replace(line, line.replace("10.0.0.1 2 0 ", f"10.0.0.1 2 {bits} "))
    server = _haproxy.servers(state, STAT)[0]
    expected = "maint" if bits & 0b1100111 else "drain" if bits else "ready"
    assert (server.state, server.up) == (expected, expected != "maint")


@given(st.text())
def test_names_are_such_as_haproxy_takes(name):
    for made in (_haproxy.backend_name(name), _haproxy.server_name(name, "a")):
        assert all(one.isascii() and (one.isalnum() or one in "_.-") for one in made)


def test_process():
    assert _haproxy.process("Name: HAProxy\nVersion: 2.6\nUptime: 0d 0h00m28s\nUptime_sec: 28\nPid: 1768\n") == (
        1768,
        28,
    )


def test_configured():
    assert _haproxy.configured(CONFIG) == {
        ("nim_m", "gpu1_a"): "8000",
        ("nim_m", "gpu1_b"): "18001",
        ("nim_m", "gpu3_a"): "8000",
    }


def test_the_state_file_keeps_what_is_and_adds_what_is_new_as_down():
    lines = _haproxy.state_file(STATE, CONFIG).splitlines()
    assert lines[:3] == STATE.splitlines()[:3]
    assert lines[3] == STATE.splitlines()[3].replace("18000", "18001")
    assert lines[4:6] == STATE.splitlines()[4:6]
    assert lines[6:] == ["0 nim_m 0 gpu3_a - 0 0 1 1 0 1 0 0 6 0 0 0 - 8000 -"]
    assert _haproxy.state_file(STATE, "").splitlines() == STATE.splitlines()[:-1]


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True), unique=True, max_size=6)


@given(NAMES, NAMES)
def test_a_state_file_of_a_state_file_says_the_same(before, now):
    def config(names):
        return "backend nim_m\n" + "".join(f"    server {name} 10.0.0.1:80{at}\n" for at, name in enumerate(names))

    first = _haproxy.state_file("", config(before))
    assert _haproxy.state_file(first, config(before)) == first
    second = _haproxy.state_file(first, config(now))
    assert set(_haproxy.wished(second)) == {("nim_m", name) for name in [*before, *now]}


def test_wished_is_about_what_somebody_set():
    later = STATE.replace("3 nim_m 1 gpu1_a 10.0.0.1 2 0 1 1 7", "3 nim_m 1 gpu1_a 10.0.0.1 0 0 1 1 99")
    assert _haproxy.wished(later) == _haproxy.wished(STATE)
    assert _haproxy.wished(STATE.replace("gpu1_a 10.0.0.1 2 0", "gpu1_a 10.0.0.1 2 8")) != _haproxy.wished(STATE)


def test_addresses_as_the_kernel_writes_them():
    assert _haproxy_processes.kernel_address("127.0.0.1", 8080) == "0100007F:1F90"
    assert _haproxy_processes.kernel_address("::1", 8080) == "00000000000000000000000001000000:1F90"


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_an_open_connection_is_found_and_a_closed_one_is_not(family, address):
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip(f"{address} is not there")
    with listener:
        port = listener.getsockname()[1]
        server = _haproxy.Server("nim_m", "x_a", address, port, "drain", True, True, True, "", 0)
        nameless = server._replace(name="x_b", address="-")
        with socket.create_connection((address, port)):
            assert _haproxy_processes.requests(["self"], [server, nameless]) == {"x_a": 1, "x_b": 0}
        assert _haproxy_processes.requests(["self"], [server]) == {"x_a": 0}


def test_a_process_that_has_ended_has_no_requests():
    server = _haproxy.servers(STATE, STAT)[0]
    assert _haproxy_processes.requests(["999999999"], [server]) == {"gpu1_a": 0}
