# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A forward proxy into the lab: CONNECT to the registry and the hub, and to nothing else.

The machine that runs the playbooks does not know the lab's names; through this proxy (https_proxy) it need not.
"""

import asyncio
import threading

PORT = 3128
ALLOWED = {"nvcr.lab:443", "hub.lab:443"}
PATIENCE = 60  # seconds, for a request and for a connection


async def copy(reader, writer):
    """Until either side ends."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    """One client's connection."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        method, target, *_version = head.split(b"\r\n")[0].decode("ascii", "replace").split(" ")
        answer, there = "403 Forbidden", None
        if method == "CONNECT" and target.lower() in ALLOWED:
            host, _colon, port = target.rpartition(":")
            try:
                there = await asyncio.wait_for(asyncio.open_connection(host, int(port)), PATIENCE)
                answer = "200 Connection established"
            except (OSError, asyncio.TimeoutError):
                answer = "502 Bad Gateway"
        print("proxy", method, target, answer.split()[0], flush=True)
        length = "" if there else "Content-Length: 0\r\nConnection: close\r\n"
        writer.write(f"HTTP/1.1 {answer}\r\n{length}\r\n".encode())
        await writer.drain()
        if there:
            await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError):
        pass  # a client that went away, or that speaks something else
    finally:
        writer.close()


async def run(port, started):
    """Listen on port, and tell started (a function) which it is."""
    server = await asyncio.start_server(serve, "0.0.0.0", port)
    started(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


def start(port=PORT):
    """Serve in a thread of its own, from now on; returns the port (int)."""
    ports, listening = [], threading.Event()

    def started(number):
        ports.append(number)
        listening.set()

    threading.Thread(target=lambda: asyncio.run(run(port, started)), daemon=True).start()
    if not listening.wait(10):
        raise OSError(f"the proxy cannot listen on port {port}")
    return ports[0]
