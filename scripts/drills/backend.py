"""A host of a cluster: HTTP/1.1 with connections that are kept, and a mood that is told on standard input.

    backend.py NAME PORT ADDRESS...

`well` answers at once, `slow SECONDS` waits before each answer, probes included, and `reset` answers each request with a reset.
The path `/linger` takes 50 ms in any case. `ready` on standard output says that it listens.
"""

import asyncio
import socket
import struct
import sys

LINGER = 0.05
ABORT = struct.pack("ii", 1, 0)


class Host:
    def __init__(self, name):
        self.body = name.encode()
        self.mood, self.wait = "well", 0.0

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if self.mood == "reset":
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                    return
                wait = self.wait if self.mood == "slow" else 0
                if head.split(b" ", 2)[1].endswith(b"/linger"):
                    wait += LINGER
                if wait:
                    await asyncio.sleep(wait)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.body), self.body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort() if self.mood == "reset" else writer.close()

    async def listen_to(self, orders):
        while line := await orders.readline():
            self.mood, *rest = line.decode().split()
            self.wait = float(rest[0]) if rest else 0.0


async def main(name, port, *addresses):
    host = Host(name)
    for address in addresses:
        await asyncio.start_server(host.serve, address, int(port), backlog=256)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    # Its end is that of whoever started it.
    await host.listen_to(orders)


asyncio.run(main(*sys.argv[1:]))
