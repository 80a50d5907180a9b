"""dubbo-py (provider and consumer) and dubbo-ssl-python (consumer): `dubbo_peer.py server|client|ssl PORT [CA]`."""
import logging
import os
import sys
import time

from check import at_once, check, end, is_error, outlives, until

SERVICE = "com.test.Echo"
role, port = sys.argv[1], int(sys.argv[2])
logging.disable(logging.CRITICAL)


def serve():
    import dubbo.server
    from dubbo.errors import DubboError
    from socketserver import ThreadingTCPServer

    bind = ThreadingTCPServer.server_bind

    def on_loopback(self):
        self.server_address = ("127.0.0.1", self.server_address[1])
        bind(self)

    ThreadingTCPServer.server_bind = on_loopback
    dubbo.server.get_pub_ip = lambda: "127.0.0.1"
    fired = []

    def slow(millis):
        time.sleep(millis / 1000)
        return "slept"

    def fail(text):
        raise DubboError(70, text)

    service = dubbo.server.DubboService(port, "echo")
    for name, method in {
        "echo": lambda text: text,
        "plus": lambda a, b: a + b,
        "slow": slow,
        "fail": fail,
        "note": fired.append,
        "noted": lambda: len(fired),
        "die": lambda: os._exit(0),
    }.items():
        service.add_method(SERVICE, name, method)
    service.start()
    print("ready", flush=True)
    while True:
        time.sleep(3600)


def client():
    from dubbo.client import DubboClient

    class Failed(Exception):
        pass

    def caller(of, service=SERVICE):
        def call(method, *args):
            answer = of.send_request_and_return_response(
                service_name=service, method_name=method, args=args, service_version="1.0.0", attachment={"path": service}
            )
            if answer.error is not None or answer.status != 20:
                raise Failed("%s %s" % (answer.status, answer.error))
            return answer.data

        return call

    # For its answers: longer than a busy machine takes.
    DubboClient._timeout = 60
    one = DubboClient("127.0.0.1", port)
    call = caller(one)
    # No more: where its reader (client's and server's) gets a part of what it wants, it asks the socket for all of it once more, and so
    # takes what is behind. It lives as long as a frame comes in one piece, as those do that the proxy sends at once: up to 8 KiB.
    text = "0123456789" * 700
    check("echo", "hello", lambda: call("echo", "hello"))
    check("two numbers", 5, lambda: call("plus", 2, 3))
    check("7 KB", text, lambda: call("echo", text))
    others = [caller(DubboClient("127.0.0.1", port)) for _ in range(20)]
    check("20 clients with equal ids", 20, lambda: at_once(20, lambda at: others[at]("echo", "call %d" % at) == "call %d" % at))
    check("exception", is_error("70"), lambda: call("fail", "boom"))
    check("no route", is_error("60"), lambda: caller(one, "org.nowhere.Echo")("echo", "x"))

    def one_way():
        for _ in range(20):
            one.send_request_without_response(
                service_name=SERVICE, method_name="note", args=("x",), service_version="1.0.0", attachment={}
            )
        return until(20, lambda: call("noted"))

    check("one-way calls", 20, one_way)
    one.send_heartbeat_request(7)
    check("after a heartbeat", "again", lambda: call("echo", "again"))
    check("upstream killed mid-call", is_error("80"), lambda: call("die"))
    check("after it came back", "back", lambda: until("back", lambda: call("echo", "back")))
    outlives(lambda millis: call("slow", millis), lambda text: call("echo", text))
    end()


def ssl():
    from dubbo_ssl.client import DubboClient

    verify = sys.argv[3] if len(sys.argv) > 3 else None

    def caller(service):
        of = DubboClient(service, "blue", host="127.0.0.1:%d" % port, version="1.0.0", verify=verify)
        return lambda method, *args, limit=20, context=None: of.call(method, list(args), context=context, timeout=limit)

    call = caller(SERVICE)
    # Of a text in chunks, which begin at 32 KiB, its reader keeps the last.
    text = "0123456789" * 3000
    check("echo", "hello", lambda: call("echo", "hello"))
    check("two numbers", 5, lambda: call("plus", 2, 3))
    check("30 KB", text, lambda: call("echo", text))
    check("50 at once", 50, lambda: at_once(50, lambda at: call("echo", "call %d" % at) == "call %d" % at))
    check("no route", is_error("no route"), lambda: caller("org.nowhere.Echo")("echo", "x"))
    # By its attachment: after an answer that comes too late for itself it reads no more.
    check("timeout", is_error("too long"), lambda: call("slow", 2000, context={"timeout": "300"}))
    check("after the timeout", "again", lambda: call("echo", "again"))
    check("upstream killed mid-call", is_error(), lambda: call("die"))
    check("after it came back", "back", lambda: until("back", lambda: call("echo", "back")))
    outlives(lambda millis: call("slow", millis, limit=20), lambda text: call("echo", text))
    end()


{"server": serve, "client": client, "ssl": ssl}[role]()
