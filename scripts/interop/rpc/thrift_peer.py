"""Apache Thrift and thriftpy2: `thrift_peer.py server|client|client2 FORM PORT [TLS]`, FORM one of framed, framed-compact, buffered, compact,
header, header-compact; TLS the folder of the certificate that both ends have. The former's calls are written by hand, as its compiler would have it; the latter knows neither THeader nor
unframed Compact in both directions."""
import os
import socket
import ssl
import sys
import tempfile
import time

from thrift.Thrift import TApplicationException, TMessageType, TType
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.transport import TSocket, TSSLSocket, TTransport
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID

from check import BIG, at_once, check, end, is_error, outlives, until

role, form, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
folder = sys.argv[4] if len(sys.argv) > 4 else None
fired = []


class Declared(Exception):
    pass


def protocol(of):
    compact = form.endswith("compact")
    if form.startswith("header"):
        inner = THeaderSubprotocolID.COMPACT if compact else THeaderSubprotocolID.BINARY
        return THeaderProtocol(of, [THeaderClientType.HEADERS], default_protocol=inner)
    of = TTransport.TFramedTransport(of) if form.startswith("framed") else TTransport.TBufferedTransport(of)
    return TCompactProtocol(of) if compact else TBinaryProtocol(of)


def write(to, kind, name, sequence, place, text):
    """A message whose struct has a text at `place`, or, at 1 of an answer, an exception with that text; none: it is empty."""
    to.writeMessageBegin(name, kind, sequence)
    to.writeStructBegin("s")
    if text is not None:
        is_exception = kind == TMessageType.REPLY and place == 1
        to.writeFieldBegin("f", TType.STRUCT if is_exception else TType.STRING, place)
        if is_exception:
            to.writeStructBegin("e")
            to.writeFieldBegin("m", TType.STRING, 1)
        to.writeString(text)
        to.writeFieldEnd()
        if is_exception:
            to.writeFieldStop()
            to.writeStructEnd()
            to.writeFieldEnd()
    to.writeFieldStop()
    to.writeStructEnd()
    to.writeMessageEnd()
    to.trans.flush()


def read_text(of):
    """The one text of a struct, and the place it was at."""
    found, place = None, None
    of.readStructBegin()
    while True:
        _, kind, at = of.readFieldBegin()
        if kind == TType.STOP:
            break
        place = at
        if kind == TType.STRING:
            found = of.readString()
        elif kind == TType.STRUCT:
            found, _ = read_text(of)
        else:
            of.skip(kind)
        of.readFieldEnd()
    of.readStructEnd()
    return found, place


def serve():
    def answer(to, name, sequence, text):
        if name in ("echo", "Echo:echo"):
            write(to, TMessageType.REPLY, name, sequence, 0, text)
        elif name == "fail":
            write(to, TMessageType.REPLY, name, sequence, 1, text)
        elif name in ("slow", "nap"):
            time.sleep(int(text) / 1000)
            write(to, TMessageType.REPLY, name, sequence, 0, "slept")
        elif name == "note":
            fired.append(text)
        elif name == "noted":
            write(to, TMessageType.REPLY, name, sequence, 0, str(len(fired)))
        elif name == "die":
            os._exit(0)
        else:
            to.writeMessageBegin(name, TMessageType.EXCEPTION, sequence)
            TApplicationException(TApplicationException.UNKNOWN_METHOD, "no " + name).write(to)
            to.writeMessageEnd()
            to.trans.flush()

    class Processor:
        def process(self, of, to):
            name, _, sequence = of.readMessageBegin()
            text, _ = read_text(of)
            of.readMessageEnd()
            answer(to, name, sequence, text)

    import threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if folder:
        context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")

    def connection(peer):
        transport = TSocket.TSocket()
        try:
            transport.setHandle(context.wrap_socket(peer, server_side=True) if folder else peer)
            both = protocol(transport)
            while True:
                Processor().process(both, both)
        except (TTransport.TTransportException, OSError):
            transport.close()

    listener = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        threading.Thread(target=connection, args=(listener.accept()[0],), daemon=True).start()


class Client:
    def __init__(self, service=None, headers=(), limit=20000):
        secure = {"server_hostname": "localhost", "cert_reqs": ssl.CERT_REQUIRED, "ca_certs": folder + "/cert.pem"} if folder else None
        self.socket = TSSLSocket.TSSLSocket("127.0.0.1", port, **secure) if secure else TSocket.TSocket("127.0.0.1", port)
        self.socket.setTimeout(limit)
        self.socket.open()
        self.both = protocol(self.socket)
        for name, value in headers:
            self.both.trans.set_header(name, value)
        self.to = TMultiplexedProtocol(self.both, service) if service else self.both
        self.sequence = 0

    def call(self, name, text, kind=TMessageType.CALL):
        self.sequence += 1
        write_to = self.to
        write(write_to, kind, name, self.sequence, 1, text)
        if kind == TMessageType.ONEWAY:
            return None
        _, kind, sequence = self.both.readMessageBegin()
        if kind == TMessageType.EXCEPTION:
            error = TApplicationException()
            error.read(self.both)
            self.both.readMessageEnd()
            raise error
        text, place = read_text(self.both)
        self.both.readMessageEnd()
        if sequence != self.sequence:
            raise RuntimeError("the answer to %d for that to %d" % (sequence, self.sequence))
        if place == 1:
            raise Declared(text)
        return text


def client():
    one = Client()
    check("echo", "hello", lambda: one.call("echo", "hello"))
    check("3 MB", True, lambda: one.call("echo", BIG) == BIG)
    check("of a service", "hello", lambda: Client("Echo").call("echo", "hello"))
    check("20 clients with equal ids", 20, lambda: at_once(20, lambda at: Client().call("echo", "call %d" % at) == "call %d" % at))
    check("declared exception", is_error("Declared('boom')"), lambda: one.call("fail", "boom"))
    check("unknown method", lambda got: "no nothing" in str(got), lambda: one.call("nothing", "x"))
    check("unknown service", lambda got: "no Nowhere:echo" in str(got), lambda: Client("Nowhere").call("echo", "x"))
    check("no route", lambda got: isinstance(got, TApplicationException) and got.type == 1, lambda: one.call("nowhere", "x"))
    check("timeout", lambda got: isinstance(got, TApplicationException) and got.type == 6, lambda: one.call("slow", "3000"))
    check("after the timeout", "again", lambda: one.call("echo", "again"))

    def one_way():
        for _ in range(20):
            one.call("note", "x", TMessageType.ONEWAY)
        return until("20", lambda: one.call("noted", None))

    check("one-way calls", "20", one_way)
    check("upstream killed mid-call", lambda got: isinstance(got, TApplicationException) and got.type == 6, lambda: one.call("die", None))
    check("after it came back", "back", lambda: until("back", lambda: Client().call("echo", "back")))
    one = Client(limit=20000)
    outlives(lambda millis: one.call("nap", str(millis)), lambda text: one.call("echo", text))
    end()


def client2():
    import thriftpy2
    from thriftpy2.protocol import TBinaryProtocolFactory, TCompactProtocolFactory
    from thriftpy2.rpc import make_client
    from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory

    with tempfile.NamedTemporaryFile("w", suffix=".thrift") as file:
        file.write(
            "exception Declared { 1: string m }\n"
            "service Echo { string echo(1: string t), string fail(1: string t) throws (1: Declared d), string slow(1: string t), string nap(1: string t),\n"
            "  oneway void note(1: string t), string noted(), string nothing(1: string t), string nowhere(1: string t) }\n"
        )
        file.flush()
        idl = thriftpy2.load(file.name, module_name="echo_thrift")
    transport = TFramedTransportFactory() if form.startswith("framed") else TBufferedTransportFactory()
    inner = TCompactProtocolFactory() if form.endswith("compact") else TBinaryProtocolFactory()
    new = lambda: make_client(idl.Echo, "127.0.0.1", port, proto_factory=inner, trans_factory=transport, timeout=20000)
    one = new()
    is_type = lambda wanted: lambda got: getattr(got, "type", None) == wanted
    check("echo", "hello", lambda: one.echo("hello"))
    check("3 MB", True, lambda: one.echo(BIG) == BIG)
    check("20 clients with equal ids", 20, lambda: at_once(20, lambda at: new().echo("call %d" % at) == "call %d" % at))
    check("declared exception", lambda got: isinstance(got, idl.Declared) and got.m == "boom", lambda: one.fail("boom"))
    check("unknown method", is_type(1), lambda: one.nothing("x"))
    check("no route", is_type(1), lambda: one.nowhere("x"))
    check("timeout", is_type(6), lambda: one.slow("3000"))
    check("after the timeout", "again", lambda: one.echo("again"))
    before = int(one.noted())
    for _ in range(5):
        one.note("x")
    check("one-way calls", str(before + 5), lambda: until(str(before + 5), one.noted))
    one = make_client(idl.Echo, "127.0.0.1", port, proto_factory=inner, trans_factory=transport, timeout=20000)
    outlives(lambda millis: one.nap(str(millis)), one.echo)
    end()


{"server": serve, "client": client, "client2": client2}[role]()
