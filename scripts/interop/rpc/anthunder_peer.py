"""anthunder (Bolt v1 with bytes for arguments): `anthunder_peer.py server|client PORT`."""
import logging
import os
import sys
import time

import anthunder
from anthunder.client.aio_client import AioClient
from anthunder.client.base import _BaseClient
from mytracer import SpanContext

from check import BIG, at_once, check, end, is_error, outlives, until

SERVICE = "com.test.Echo:1.0"
role, port = sys.argv[1], int(sys.argv[2])
logging.disable(logging.CRITICAL)


class Echo(anthunder.BaseService):
    fired = []

    def echo(self, body):
        return body

    def slow(self, body):
        time.sleep(int(body) / 1000)
        return b"slept"

    def fail(self, body):
        raise RuntimeError(body)

    def note(self, body):
        self.fired.append(body)

    def noted(self, body):
        return b"%d" % len(self.fired)

    def die(self, body):
        os._exit(0)


def serve():
    listener = anthunder.AioListener(("127.0.0.1", port), "echo")
    listener.handler.register_interface(SERVICE, Echo)
    print("ready", flush=True)
    listener.run_forever()


def ask():
    # Its clients are meant for a mesh on a port of its own.
    _BaseClient.mesh_service_address = ("127.0.0.1", port)
    plain, asynchronous = anthunder.Client("peer"), AioClient("peer")

    def call(method, body, client=plain, limit=20000, service=SERVICE):
        return client.invoke_sync(service, method, body, spanctx=SpanContext(), timeout_ms=limit)

    big = BIG.encode()
    check("echo", b"hello", lambda: call("echo", b"hello"))
    check("echo, the other client", b"hello", lambda: call("echo", b"hello", asynchronous))
    check("3 MB", True, lambda: call("echo", big, asynchronous) == big)
    check("50 at once", 50, lambda: at_once(50, lambda at: call("echo", b"call %d" % at, asynchronous) == b"call %d" % at))
    check("exception", is_error("UNKNOWN"), lambda: call("fail", b"x"))
    check("unknown method", is_error("NO_PROCESSOR"), lambda: call("nothing", b"x"))
    check("unknown service", is_error("NO_PROCESSOR"), lambda: call("echo", b"x", service="com.test.Missing:1.0"))
    check("no route", is_error("NO_PROCESSOR"), lambda: call("echo", b"x", service="org.nowhere.Echo:1.0"))
    check("timeout", is_error("TIMEOUT"), lambda: call("slow", b"2000", limit=300))
    check("after the timeout", b"again", lambda: call("echo", b"again"))

    def one_way():
        for _ in range(20):
            plain.invoke_oneway(SERVICE, "note", b"x", spanctx=SpanContext())
        return until(b"20", lambda: call("noted", b"x"))

    check("one-way calls", b"20", one_way)
    check("upstream killed mid-call", is_error("CONNECTION_CLOSED"), lambda: call("die", b"x"))
    check("after it came back", b"back", lambda: until(b"back", lambda: call("echo", b"back")))
    outlives(lambda millis: call("slow", b"%d" % millis, limit=20000), lambda text: call("echo", text.encode()))
    end()


serve() if role == "server" else ask()
