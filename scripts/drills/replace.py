"""Hosts replaced 1,000 times under load, by reloads and by what their name comes to: no request fails, whatever its method."""

import socket
import struct
import threading
import time

from stage import free_port, must, wait

TIMES = 1000
RATE, CONNECTIONS = 150, 12
HOSTS = [f"127.0.78.{last}" for last in range(1, 7)]
# Of six hosts three at a time, so that each step takes one away; each third step takes all.
PATHS = ("/quick", "/linger")

HEAD = """
process: { drain_timeout: 1s, dns: { servers: ["127.0.0.1:DNS"], min_ttl: 5ms } }
admin: { address: 127.0.0.1:ADMIN }
listeners:
  - name: web
    address: 127.0.0.1:PORT
    routes: [{ match: { prefix: / }, cluster: up, timeout: 10s, retry: { retries: 0 } }]
clusters:
"""


def three(step):
    """Which hosts there are after so many steps."""
    first = step + 2 * (step // 3)
    return [HOSTS[(first + at) % len(HOSTS)] for at in range(3)]


def start(stage):
    port = free_port()
    stage.backend("all", port, *HOSTS)
    return port


def judge(proxy, load, changes, since):
    took = time.monotonic() - since
    requests = load.finish()
    proxy.alive()
    must(changes >= TIMES, f"only {changes} changes were seen")
    bad = [one for one in requests if one.came != "200"]
    must(not bad, f"{len(bad)} of {len(requests)} requests failed, first {bad and bad[0]}")
    must(len(requests) > RATE * took, f"{len(requests)} requests in {took:.0f} s are no load")
    again = proxy.stats("cluster.up.")["upstream_rq_retry"]
    must(again == "0", f"{again} requests were tried again")
    posts = sum(one.method == "POST" for one in requests)
    return f"{changes} changes in {took:.0f} s, {len(requests)} requests, {posts} of them POSTs, none failed and none tried again"


def reloads(stage, say):
    port = start(stage)

    def config(step):
        hosts = ", ".join(f'"{address}:{port}"' for address in three(step))
        return HEAD.replace("127.0.0.1:DNS", "127.0.0.1:9") + f"  - {{ name: up, endpoints: [{hosts}] }}\n"

    proxy = stage.proxy(config(0))
    load = stage.load(proxy.port, RATE, CONNECTIONS, *PATHS)
    wait("the load runs", lambda: load.so_far() > RATE)
    since = time.monotonic()
    before = version(proxy)
    for step in range(1, TIMES + 1):
        proxy.write(config(step))
        status, said = proxy.admin("POST", "/reload")
        must(status == 200, f"reload {step}: {said}")
    changes = version(proxy) - before
    say("hosts replaced by reloads", lambda: judge(proxy, load, changes, since))


def version(proxy):
    return int(proxy.stats("server.")["config_version"])


def names(stage, say):
    port, server = start(stage), Names()
    stage.callback(server.close)
    config = HEAD.replace("DNS", str(server.port)) + f'  - {{ name: up, discovery: {{ dns: "api.drill.test:{port}", refresh: 10ms }} }}\n'
    proxy = stage.proxy(config)
    load = stage.load(proxy.port, RATE, CONNECTIONS, *PATHS)
    wait("the load runs", lambda: load.so_far() > RATE)
    since, before = time.monotonic(), version(proxy)
    wait("the hosts change so often", lambda: version(proxy) - before >= TIMES, patience=180, every=0.1)
    changes = version(proxy) - before
    say("hosts replaced by what their name comes to", lambda: judge(proxy, load, changes, since))


class Names:
    """A name server whose answer for A is another each time."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port, self.asked = self.socket.getsockname()[1], 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(512)
                self.socket.sendto(self.answer(query), client)
            except OSError:
                return

    def answer(self, query):
        end = 12
        while query[end]:
            end += query[end] + 1
        question = query[12:end + 5]
        addresses = []
        if question[-4:-2] == b"\0\1":
            addresses = three(self.asked)
            self.asked += 1
        records = b"".join(b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 0, 4) + socket.inet_aton(one) for one in addresses)
        return query[:2] + struct.pack("!HHHHH", 0x8580, 1, len(addresses), 0, 0) + question + records

    def close(self):
        self.socket.close()
