# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands before the engine in 2.x, as nginx does there: it answers for the service's health before there is an
engine, and hands everything else to it [documented]."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

from .contract import Generation, health

LIVE, READY = b"/v1/health/live", b"/v1/health/ready"
REASONS = {200: "OK", 400: "Bad Request", 502: "Bad Gateway", 503: "Service Unavailable"}


class Front:
    """A connection goes to the engine whole if its first request isn't about health: what follows on it, too."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation

    def start(self, listeners: list[socket.socket]) -> None:
        """Serve the open ports, beside what the process does else, until it ends."""
        threading.Thread(target=asyncio.run, args=(self._serve(listeners),), daemon=True).start()

    async def _serve(self, listeners: list[socket.socket]) -> None:
        servers = [await asyncio.start_server(self._connection, sock=listener) for listener in listeners]
        await asyncio.gather(*(server.serve_forever() for server in servers))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].partition(b"?")[0]
            if path == LIVE:
                return _answer(writer, 200, health(self._generation, "live"))
            engine = await self._engine()
            if path == READY:
                _answer(writer, 200 if engine else 503, health(self._generation, "ready" if engine else "starting"))
            elif engine:
                await _join(head, reader, writer, *engine)
            else:
                _answer(writer, 502, {"message": "the engine does not answer"})  # unverified: status and words
        except (IndexError, asyncio.LimitOverrunError):
            _answer(writer, 400, {"message": "not a request"})
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()
            if engine:
                engine[1].close()

    async def _engine(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1", self._generation.engine_port)
        except OSError:
            return None


def _answer(writer: asyncio.StreamWriter, status: int, body: dict) -> None:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)


async def _join(
    head: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    engine_reader: asyncio.StreamReader,
    engine_writer: asyncio.StreamWriter,
) -> None:
    """Both directions, until either side ends: a client that goes away stops its answer."""
    engine_writer.write(head)
    ways = [_pump(reader, engine_writer), _pump(engine_reader, writer)]
    _done, pending = await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
    for way in pending:
        way.cancel()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        target.write(data)
        await target.drain()
