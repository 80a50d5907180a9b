"""A host of a cluster, with connections that are kept and a mood that is told on standard input.

    backend.py NAME SPEAKS PORT ADDRESS...

SPEAKS is `http1`, `http2` (without TLS), `bolt`, or `tls:CERT:KEY` for HTTP/1.1 over TLS. `well` answers at once, `slow SECONDS` waits
before each answer, probes included, and `reset` answers each request with a reset. With HTTP/1.1 the path `/linger` takes 50 ms in any
case. `ready` on standard output says that it listens.
"""

import asyncio
import socket
import ssl
import struct
import sys

LINGER = 0.05
ABORT = struct.pack("ii", 1, 0)


class Reset(Exception):
    pass


class Host:
    def __init__(self, name):
        self.name = name.encode()
        self.mood, self.wait = "well", 0.0

    async def due(self, linger=0.0):
        """Until a request is to be answered."""
        if self.mood == "reset":
            raise Reset
        wait = linger + (self.wait if self.mood == "slow" else 0)
        if wait:
            await asyncio.sleep(wait)

    async def http1(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await self.due(LINGER if head.split(b" ", 2)[1].endswith(b"/linger") else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.name), self.name))

    async def http2(self, reader, writer):
        """RFC 9113, as far as an answer needs it: what a request asks for is not looked at, so nothing is decoded."""
        data, headers, settings, ping = 0, 1, 4, 6
        end_stream, end_headers, ack = 1, 4, 1
        # `:status: 200` and `content-length` by their places in HPACK's static table.
        answer = b"\x88\x0f\x0d\x01%d" % len(self.name)

        def send(kind, flags, stream, payload):
            writer.write(len(payload).to_bytes(3) + struct.pack("!BBI", kind, flags, stream) + payload)

        await reader.readexactly(24)
        send(settings, 0, 0, b"")
        while True:
            length, (kind, flags, stream) = int.from_bytes(await reader.readexactly(3)), struct.unpack("!BBI", await reader.readexactly(6))
            payload = await reader.readexactly(length)
            if kind in (data, headers) and flags & end_stream:
                await self.due()
                send(headers, end_headers, stream, answer)
                send(data, end_stream, stream, self.name)
            elif kind in (settings, ping) and not flags & ack:
                send(kind, ack, 0, payload if kind == ping else b"")

    async def bolt(self, reader, writer):
        """Version 1: a head of 22 bytes, class, headers, content; an answer's head has 20."""
        heartbeat, answer, success = 0, 2, 0
        name = b"com.alipay.sofa.rpc.core.response.SofaResponse"
        while True:
            head = await reader.readexactly(22)
            proto, _, command, version, call, codec, _, kind, headers, content = struct.unpack("!BBHBIBIHHI", head)
            await reader.readexactly(kind + headers + content)
            if command == heartbeat:
                writer.write(struct.pack("!BBHBIBHHHI", proto, 0, heartbeat, version, call, codec, success, 0, 0, 0))
                continue
            await self.due()
            said = b'"%s"' % self.name
            writer.write(struct.pack("!BBHBIBHHHI", proto, 0, answer, version, call, codec, success, len(name), 0, len(said)) + name + said)

    def serve(self, speaks):
        async def one(reader, writer):
            try:
                await speaks(reader, writer)
            except Reset:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                writer.transport.abort()
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.close()

        return one

    async def listen_to(self, orders):
        while line := await orders.readline():
            self.mood, *rest = line.decode().split()
            self.wait = float(rest[0]) if rest else 0.0


async def main(name, speaks, port, *addresses):
    host, context = Host(name), None
    speaks, *files = speaks.split(":")
    if speaks == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    serve = host.serve({"http2": host.http2, "bolt": host.bolt}.get(speaks, host.http1))
    for address in addresses:
        await asyncio.start_server(serve, address, int(port), backlog=256, ssl=context)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    # Its end is that of whoever started it.
    await host.listen_to(orders)


asyncio.run(main(*sys.argv[1:]))
