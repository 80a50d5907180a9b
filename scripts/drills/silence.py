"""A host that falls silent in the middle of a connection: with `socket.user_timeout` its request ends soon, without it with the route's
`timeout`. The kernel resets a connection whose bytes have been unacknowledged for so long (RFC 5482), and looks when it sends again."""

import http.client
import time

from stage import GRACE, Namespace, free_port, must

USER, ROUTE = 1.0, 4.0

CONFIG = """
admin: { address: 127.0.0.1:ADMIN }
listeners:
  - name: web
    address: 127.0.0.1:PORT
    routes:
      - { match: { prefix: /with }, cluster: with, timeout: 4s, retry: { retries: 0 } }
      - { match: { prefix: / }, cluster: without, timeout: 4s, retry: { retries: 0 } }
clusters:
"""


def user_timeout(stage, say):
    space, port = Namespace(stage), free_port()
    stage.backend("c", port, space.THEIRS, within=space.within)
    at = f'endpoints: ["{space.THEIRS}:{port}"]'
    clusters = f"  - {{ name: with, {at}, socket: {{ user_timeout: {USER}s }} }}\n  - {{ name: without, {at} }}\n"
    proxy = stage.proxy(CONFIG + clusters)
    clients = {path: http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20) for path in ("/with", "/without")}
    for path, client in clients.items():
        must(ask(client, path)[0] == 200, f"{path} does not work")
    space.drop()
    for path, expect, promised in (("/with", 502, USER), ("/without", 504, ROUTE)):
        say(f"a host falls silent, {path[1:]} user_timeout", lambda: judge(clients[path], path, expect, promised))


def judge(client, path, expect, promised):
    status, took = ask(client, path)
    must(status == expect, f"the status is {status} after {took:.2f} s")
    must(promised - 0.1 <= took <= promised + 0.3 + GRACE, f"{status} after {took:.2f} s, promised {promised:.2f} s")
    return f"{status} after {took:.2f} s (promised {promised:.2f})"


def ask(client, path):
    """A POST, which is not tried again."""
    begun = time.monotonic()
    client.request("POST", path, body=b"")
    answer = client.getresponse()
    answer.read()
    return answer.status, time.monotonic() - begun
