"""What is measured: a line a case. To add one is to add a line here; what it may name is explained below.

`setup` is a folder of peers/ with each proxy's configuration, and what stands around the proxies in it (SETUPS). A proxy
that has no file in that folder cannot do the case and is left out of its table. `kind` says who loads the proxy and which
figures come of it (kinds.py), `options` go to the kind.
"""

import collections

Case = collections.namedtuple("Case", "name title setup kind options bars usual", defaults=((), True))
Setup = collections.namedtuple("Setup", "folder origin scheme check")

# The folder below peers/, the origin (origins.py), how clients speak to the proxy (http, h2c, or https: then cert.pem, key.pem
# and both.pem are made beside the configuration), and what of an answer is held before anything is timed (checks.py).
SETUPS = {
    "h1": Setup("h1", "h1", "http", "http"),
    "tls": Setup("tls", "h1", "https", "http"),
    "h2": Setup("h2", "h1", "h2c", "http"),
    "h2-h2": Setup("h2-h2", "h2", "h2c", "http"),
    # HAProxy passes the bytes on, as a floor; so does Ringway itself in `relay`.
    "bolt": Setup("bolt", "bolt", "http", "bolt"),
    "relay": Setup("relay", "bolt", "http", "bolt"),
    "dubbo": Setup("dubbo", "dubbo", "http", "dubbo"),
}

# The most that Ringway's figure may be beside the best of these peers'; or, for memory, in itself (KiB a connection).
Bar = collections.namedtuple("Bar", "limit peers", defaults=((),))
DEBIAN = ("nginx", "haproxy")
THREE = ("nginx", "haproxy", "envoy")

# `usual` cases run unless others are asked for.
CASES = [
    Case("1k", "1 KiB, keep-alive, 64 connections", "h1", "load", {"length": 1024, "connections": 64}, [Bar(0.9, DEBIAN)]),
    Case("64k", "64 KiB, keep-alive, 64 connections", "h1", "load", {"length": 65536, "connections": 64}, [Bar(1.0, DEBIAN)]),
    Case(
        "close",
        "1 KiB, one connection a request",
        "h1",
        "load",
        {"length": 1024, "connections": 64, "close": "yes"},
        [Bar(1.0, DEBIAN)],
    ),
    Case("one", "1 KiB, keep-alive, one connection", "h1", "load", {"length": 1024, "connections": 1}),
    Case("rate", "1 KiB, open loop, 64 connections", "h1", "load", {"length": 1024, "connections": 64, "rate": 5000}),
    Case("1g", "one answer of 1 GiB", "h1", "pour", {"length": 1 << 30}),
    Case("idle", "idle connections", "h1", "idle", {"connections": 5000}, [Bar(2.0)]),
    Case(
        "1k-h2load",
        "1 KiB, keep-alive, 64 connections, asked by h2load",
        "h1",
        "h2load",
        {"length": 1024, "connections": 64, "arguments": ["--h1"]},
        usual=False,
    ),
    Case(
        "tls-1k",
        "TLS 1.3, 1 KiB, keep-alive, 64 connections, asked by h2load",
        "tls",
        "h2load",
        {"length": 1024, "connections": 64, "arguments": ["--h1"]},
        [Bar(0.8, THREE)],
    ),
    Case(
        "tls-64k",
        "TLS 1.3, 64 KiB, keep-alive, 64 connections, asked by h2load",
        "tls",
        "h2load",
        {"length": 65536, "connections": 64, "arguments": ["--h1"]},
        [Bar(0.9, THREE)],
    ),
    Case(
        "tls-full",
        "TLS 1.3, a full handshake and one request (ECDSA P-256)",
        "tls",
        "handshakes",
        {"resume": False},
        [Bar(0.75, THREE)],
    ),
    Case("tls-resumed", "TLS 1.3, a resumed handshake and one request", "tls", "handshakes", {"resume": True}),
    Case(
        "bolt-1k",
        "Bolt, 1 KiB echo, 64 connections (HAProxy: a TCP relay)",
        "bolt",
        "load",
        {"form": "bolt", "length": 1024, "connections": 64},
        [Bar(1.5, ["haproxy"])],
        usual=False,
    ),
    Case(
        "bolt-rate",
        "Bolt, 1 KiB echo, open loop, 64 connections (HAProxy: a TCP relay)",
        "bolt",
        "load",
        {"form": "bolt", "length": 1024, "connections": 64, "rate": 5000},
        usual=False,
    ),
    Case(
        "bolt-relay",
        "the same as bolt-1k, all as TCP relays",
        "relay",
        "load",
        {"form": "bolt", "length": 1024, "connections": 64},
        usual=False,
    ),
    Case(
        "dubbo-1k",
        "Dubbo, 1 KiB echo, 64 connections (HAProxy: a TCP relay; Envoy: its dubbo_proxy)",
        "dubbo",
        "load",
        {"form": "dubbo", "length": 1024, "connections": 64},
        [Bar(0.5, ["envoy"])],
        usual=False,
    ),
    Case(
        "dubbo-rate",
        "Dubbo, 1 KiB echo, open loop, 64 connections (HAProxy: a TCP relay; Envoy: its dubbo_proxy)",
        "dubbo",
        "load",
        {"form": "dubbo", "length": 1024, "connections": 64, "rate": 5000},
        usual=False,
    ),
    Case("tls-idle", "idle TLS connections", "tls", "idle", {"connections": 2000}),
    Case(
        "h2",
        "HTTP/2 to HTTP/1.1, 1 KiB, 16 connections, 32 streams each, asked by h2load",
        "h2",
        "h2load",
        {"length": 1024, "connections": 16, "streams": 32},
        [Bar(0.9, THREE)],
    ),
    Case(
        "h2-h2",
        "HTTP/2 to HTTP/2, 1 KiB, 16 connections, 32 streams each, asked by h2load",
        "h2-h2",
        "h2load",
        {"length": 1024, "connections": 16, "streams": 32},
        [Bar(1.8, ["haproxy"]), Bar(0.35, ["envoy"])],
    ),
    Case(
        "grpc",
        "gRPC unary, messages of 128 bytes, 16 connections, 32 streams each, asked by h2load",
        "h2-h2",
        "h2load",
        {"message": 128, "connections": 16, "streams": 32},
    ),
]
