"""One torrent of the whole folder w: bulk.py TORRENT FOLDER ADDRESS PEERS... The first of the peers makes it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import libtorrent

torrent, folder, address, *peers = sys.argv[1:]
PORT = 6881
SETTINGS = {
    "listen_interfaces": f"{address}:{PORT}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
}

session = libtorrent.session(SETTINGS)
if address == peers[0]:
    files = libtorrent.file_storage()
    libtorrent.add_files(files, f"{folder}/w", lambda path: "/.git" not in path)
    made = libtorrent.create_torrent(files)
    libtorrent.set_piece_hashes(made, folder)
    Path(torrent + ".part").write_bytes(libtorrent.bencode(made.generate()))
    os.rename(torrent + ".part", torrent)
while not os.path.exists(torrent):
    time.sleep(0.1)
handle = session.add_torrent({"ti": libtorrent.torrent_info(torrent), "save_path": folder})
for peer in peers:
    if peer != address:
        handle.connect_peer((peer, PORT))
while not handle.status().is_seeding:
    time.sleep(0.1)
print("complete", flush=True)
while True:
    time.sleep(60)
