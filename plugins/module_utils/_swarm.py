# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A swarm: hosts that hand files on to each other, each taking from whoever has a piece. libtorrent does it.

Private to the collection: breaking changes at any time.

Each file is a torrent of its own, named by its sha256: piece hashes can only be told of a file that is there, and so a
file is handed on while the next one still comes. Nobody is looked for: a host talks to the addresses it was given and
to no other. A torrent's identity depends on the secret of the run, and without that identity no handshake succeeds.
"""

from __future__ import annotations

import collections
import hashlib
import os

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

try:
    import libtorrent
except ImportError:
    libtorrent = None

Piecework = collections.namedtuple("Piecework", "done complete wrong")

# A piece is handed on once it is whole: few large ones make hosts wait for each other, many small ones cost hashes.
_SMALLEST, _LARGEST, _PIECES = 256 * 1024, 16 * 1024**2, 1024
# So many times as patient is whoever has not heard of another yet: it takes a while until all of a large fleet begin.
FIRST = 5
_FORCED, _RC4 = 0, 2  # enc_policy.pe_forced and enc_level.pe_rc4
_ERROR, _STORAGE, _STATUS = 0x1, 0x8, 0x40  # categories of alerts, the same in every release
_SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "in_enc_policy": _FORCED,
    "out_enc_policy": _FORCED,
    "allowed_enc_level": _RC4,
    "alert_mask": _ERROR | _STORAGE | _STATUS,
    "max_retry_port_bind": 0,
    "listen_system_port_fallback": False,
    # Made for strangers on the internet: in a site hosts come and go together.
    "connections_limit": 10_000,
    "connection_speed": 500,
    "min_reconnect_time": 1,
    "max_failcount": 1000,
    "unchoke_slots_limit": -1,
}


def need():
    """Raise a Problem unless libtorrent is installed."""
    if libtorrent is None:
        raise Problem(
            "libtorrent is not installed on this host.",
            "import libtorrent fails",
            "Install python3-libtorrent (Red Hat: rb_libtorrent-python3; SUSE: python3-libtorrent-rasterbar).",
            "libtorrent_missing",
        )


class Swarm:
    """What this host, at address and port, has and takes. peers: addresses (list) of the others. secret: of the run.

    Raises a Problem where it cannot listen.
    """

    def __init__(self, address, port, peers, secret):
        need()
        self._peers, self._port = [peer for peer in peers if peer != address], port
        self._source = hashlib.sha256(secret.encode()).hexdigest().encode()
        self._handles, self._seen, self._wrong = {}, {}, collections.Counter()
        self._flushing, self._flushed, self._whole = set(), set(), set()
        host = f"[{address}]" if ":" in address else address
        # The others know this host by this address, and by no other that it may have.
        own = {"listen_interfaces": f"{host}:{port}", "outgoing_interfaces": address}
        self._session = libtorrent.session({**_SETTINGS, **own})
        self._session.set_ip_filter(self._only(self._peers))
        self._listen(address)

    @staticmethod
    def _only(addresses):
        allowed = libtorrent.ip_filter()
        for first, last in (("0.0.0.0", "255.255.255.255"), ("::", "ffff:" * 7 + "ffff")):
            allowed.add_rule(first, last, 1)
        for address in addresses:
            allowed.add_rule(address, address, 0)
        return allowed

    def _listen(self, address):
        while self._session.wait_for_alert(10_000):
            for alert in self._session.pop_alerts():
                if isinstance(alert, libtorrent.listen_succeeded_alert):
                    return
                if isinstance(alert, libtorrent.listen_failed_alert):
                    raise cannot_listen(address, self._port, alert.message())
        raise cannot_listen(address, self._port, "libtorrent does not say why")

    def offer(self, path):
        """Hand on the whole file at path, which is named by its sha256; its torrent (bytes)."""
        directory, name = os.path.split(path)
        files = libtorrent.file_storage()
        files.add_file(name, os.path.getsize(path))
        v1_only = getattr(libtorrent.create_torrent, "v1_only", 0)  # libtorrent before 2.0 knows nothing else
        made = libtorrent.create_torrent(files, _piece_size(files.total_size()), v1_only)
        made.set_priv(True)
        libtorrent.set_piece_hashes(made, directory)
        document = made.generate()
        document[b"info"][b"source"] = self._source
        torrent = libtorrent.bencode(document)
        self.take(torrent, directory, name, files.total_size(), whole=True)
        return torrent

    def take(self, torrent, directory, name, size, whole=False):
        """Take the file of the torrent (bytes) into directory, if it is the one of that name and size (bytes).

        What lies there already is looked through and kept; whole: nothing is missing, and nothing is looked through.
        """
        try:
            info = libtorrent.torrent_info(libtorrent.bdecode(torrent))
            seen = (info.num_files(), info.files().file_path(0), info.total_size())
        except (RuntimeError, TypeError, ValueError) as error:
            seen = error
        if seen != (1, name, size):
            raise Problem("The seed sends a torrent of something else.", repr(seen), "Run again.", "torrent_invalid")
        flags = libtorrent.torrent_flags
        wanted = flags.apply_ip_filter | flags.disable_dht | flags.disable_lsd | flags.disable_pex
        if whole:
            wanted |= flags.seed_mode
            self._whole.add(name)
            self._seen[name] = Piecework(size, True, 0)
        parameters = libtorrent.add_torrent_params()
        parameters.ti, parameters.save_path, parameters.flags = info, directory, wanted
        self._handles[name] = self._session.add_torrent(parameters)
        self.meet([name])

    def meet(self, names=None):
        """Connect to the peers, for the files called names or for all; to those that are connected nothing happens."""
        for name in self._handles if names is None else names:
            for peer in self._peers:
                self._handles[name].connect_peer((peer, self._port))

    def look(self):
        """What has become of the files: name -> Piecework (bytes done; complete; how many pieces came altered).

        Raises a Problem where a file cannot be written.
        """
        for alert in self._session.pop_alerts():
            if isinstance(alert, libtorrent.hash_failed_alert):
                self._wrong[alert.torrent_name] += 1
            elif isinstance(alert, libtorrent.cache_flushed_alert):
                self._flushed.add(alert.torrent_name)
            elif isinstance(alert, (libtorrent.file_error_alert, libtorrent.torrent_error_alert)):
                raise Problem("A file cannot be written.", alert.message(), "Check the disk.", "disk_failed")
        for name in {*self._handles} - self._whole | {*self._wrong}:
            self._seen[name] = self._look_at(name)
        return self._seen

    def _look_at(self, name):
        status = self._handles[name].status()
        # libtorrent calls a file whole before the last of it is written.
        if status.is_seeding and name not in self._flushing:
            self._flushing.add(name)
            self._handles[name].flush_cache()
        if name in self._flushing & self._flushed:
            self._whole.add(name)
        return Piecework(status.total_wanted_done, name in self._whole, self._wrong[name])

    def traffic(self):
        """The payload (bytes) that came, and that went."""
        seen = [handle.status() for handle in self._handles.values()]
        return sum(one.total_payload_download for one in seen), sum(one.total_payload_upload for one in seen)

    def connected(self):
        """The addresses (sorted list) of the peers that there is a connection with."""
        peers = (peer.ip[0] for handle in self._handles.values() for peer in handle.get_peer_info())
        return sorted(set(peers))


def cannot_listen(address, port, evidence):
    """The Problem of an address (str) and port (int) on which one cannot listen."""
    return Problem(
        f"This host cannot listen on {address}, port {port}.",
        evidence,
        "Give an address of this host in weights_fleet_address, and a port that is free, and the one above it, in "
        "weights_fleet_port.",
        "cannot_listen",
    )


def altered_file(path, evidence):
    """The Problem of a file (path in the snapshot) that is not what it should be."""
    return Problem(
        f"The fleet hands on other bytes than the repository promises: {path}.",
        evidence,
        "Find out which host has altered weights (status.yml, or a deep check), and have them mended there.",
        "object_altered",
    )


def _piece_size(size):
    piece = _SMALLEST
    while piece < _LARGEST and size > piece * _PIECES:
        piece *= 2
    return piece
