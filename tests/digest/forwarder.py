"""Stands between hosts in network namespaces and what listens on this machine only.

Usage: python forwarder.py ADDRESS TARGET…, where TARGET is the path of a Unix socket or HOST:PORT. Prints
one port of ADDRESS for each target.
"""

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def forward(address: str, target: str) -> asyncio.Server:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if target.startswith("/"):
            there, back = await asyncio.open_unix_connection(target)
        else:
            host, _, port = target.rpartition(":")
            there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return await asyncio.start_server(talk, address, 0)


async def main() -> None:
    servers = [await forward(sys.argv[1], target) for target in sys.argv[2:]]
    for server in servers:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
