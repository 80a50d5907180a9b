"""A steady load over connections that are kept: a line for each request with when it began and ended, its method, its path, what came
of it (a status, or an error's name) and which host answered.

    load.py ADDRESS PORT RATE CONNECTIONS BODY PATH...

RATE is of each path in a second, over so many connections of its own; each tenth request is a POST, which is not tried again. A
connection whose answer is late sends its next request when the next one is due: the rate sinks and never catches up. It ends
with standard input, after the answers to all that was sent.
"""

import asyncio
import sys
import time

PATIENCE = 20.0


class Client:
    def __init__(self, address, port, body, path, stop):
        self.address, self.port, self.body, self.path, self.stop = address, port, body.encode(), path, stop
        self.reader = self.writer = None
        self.sent = 0

    async def ask(self, method):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.address, self.port)
        length = b"Content-Length: %d\r\n" % len(self.body) if method == "POST" or self.body else b""
        self.writer.write(b"%s %s HTTP/1.1\r\nHost: drill\r\n%s\r\n%s" % (method.encode(), self.path.encode(), length, self.body))
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        body = await self.reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        if b"connection: close" in head:
            self.close()
        status = head.split(b" ", 2)[1].decode()
        # What a call is answered is JSON.
        return status, body.decode().strip('"') if status == "200" else "-"

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def run(self, begin, pause, out):
        due = begin
        while not self.stop.is_set():
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            method = "POST" if self.sent % 10 == 9 else "GET"
            self.sent += 1
            start = time.monotonic()
            try:
                came, host = await asyncio.wait_for(self.ask(method), PATIENCE)
            except Exception as error:
                came, host = type(error).__name__, "-"
                self.close()
            end = time.monotonic()
            out.append(f"{start:.6f} {end:.6f} {method} {self.path} {came} {host}")
            due = max(due + pause, end - (end - due) % pause)
        self.close()


async def write(out, stop):
    while not stop.is_set():
        await asyncio.sleep(0.1)
        flush(out)


def flush(out):
    if out:
        print("\n".join(out), flush=True)
        out.clear()


async def main(address, port, rate, connections, body, *paths):
    stop, out = asyncio.Event(), []
    loop = asyncio.get_running_loop()
    end = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(end), sys.stdin)
    pause, now = int(connections) / float(rate), time.monotonic()
    clients = [
        Client(address, int(port), body, path, stop).run(now + pause * at / int(connections), pause, out)
        for path in paths
        for at in range(int(connections))
    ]
    running = asyncio.gather(*clients)
    writing = asyncio.create_task(write(out, stop))
    await end.read()
    stop.set()
    await running
    await writing
    flush(out)


asyncio.run(main(*sys.argv[1:]))
