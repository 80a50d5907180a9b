"""What is held of a proxy before anything is timed, so that no proxy is fast by doing less."""

import email
import http.client
import re
import shutil
import socket
import ssl
import subprocess


def fetch(scheme, port, path, **headers):
    """A GET on a connection of its own: head and body."""
    if scheme == "h2c":
        return fetch_h2c(port, path)
    if scheme == "https":
        # What is measured is the proxy's work, whoever signed its certificate.
        trusting = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}")
        return answer.headers, answer.read()
    finally:
        connection.close()


def fetch_h2c(port, path):
    """The same by HTTP/2 in cleartext, asked by curl: Python has no client of it."""
    if shutil.which("curl") is None:
        raise RuntimeError("curl is not here")
    words = ["curl", "-s", "-S", "-i", "--max-time", "10", "--http2-prior-knowledge", f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(words, capture_output=True, check=False)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    status, _, fields = head.partition(b"\r\n")
    if done.returncode != 0 or b" 200" not in status:
        raise RuntimeError(f"GET {path}: {status.decode()} {done.stderr.decode()}")
    return email.message_from_bytes(fields), body


def bodies(scheme, port):
    """The proxy gives the right bytes."""
    for length in (1, 1024, 65536):
        headers, body = fetch(scheme, port, f"/bytes/{length}")
        if body != bytes(at % 251 for at in range(length)):
            raise RuntimeError(f"/bytes/{length}: the body is not what the origin sent")
        if "Via" not in headers:
            raise RuntimeError("the answer has no Via")


def added_fields(scheme, port):
    """The proxy adds to requests what all peers are to add."""
    heads = [fetch(scheme, port, "/head")[1].decode("latin-1") for _ in range(2)]
    proto = "https" if scheme == "https" else "http"
    wanted = {"x-forwarded-for": r"[0-9.]+", "x-forwarded-proto": proto, "x-request-id": r"\S{16,}", "via": ".+"}
    for name, value in wanted.items():
        if not re.search(rf"^{name}: {value}\r$", heads[0], re.MULTILINE | re.IGNORECASE):
            raise RuntimeError(f"the upstream request lacks {name}:\n{heads[0]}")
    ids = {re.search(r"^x-request-id: (\S+)", head, re.MULTILINE | re.IGNORECASE).group(1) for head in heads}
    if len(ids) != 2:
        raise RuntimeError("two requests have the same X-Request-Id")


def http_proxy(scheme, port):
    """An HTTP proxy does all that the others do; raises if not."""
    bodies(scheme, port)
    added_fields(scheme, port)
    if scheme != "h2c" and fetch(scheme, port, "/bytes/1", Connection="close")[0].get("Connection", "").lower() != "close":
        raise RuntimeError("the answer to `Connection: close` does not say it")


def called(port, call, head):
    """The answer to a call whose argument comes back: as long as its head says."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        connection.sendall(call)
        answer = b""
        while len(answer) < head or len(answer) < head + int.from_bytes(answer[head - 4 : head], "big"):
            part = connection.recv(65536)
            if not part:
                raise RuntimeError("closed before the answer")
            answer += part
        return answer


def bolt_proxy(_scheme, port):
    """A call of Bolt that says its service and method comes back under its id."""
    texts = [b"service", b"com.test.Echo:1.0", b"sofa_head_method_name", b"echo"]
    headers = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    content = bytes(at % 251 for at in range(1024))
    head = b"\x01\x01\0\x01\x01\x80\0\0\x2a\x01\0\0\x13\x88\0\0" + len(headers).to_bytes(2, "big")
    answer = called(port, head + len(content).to_bytes(4, "big") + headers + content, 20)
    if answer[:12] != b"\x01\0\0\x02\x01\x80\0\0\x2a\x01\0\0" or not answer.endswith(content):
        raise RuntimeError(f"a call of Bolt was answered with {answer[:40]!r}")


def dubbo_proxy(_scheme, port):
    """A call of Dubbo comes back under its id, a negative one."""
    short = lambda text: bytes([len(text)]) + text
    argument = b"S\x04\0" + b"x" * 1024
    body = b"".join(map(short, [b"2.0.2", b"com.test.Echo", b"1.0.0", b"echo", b"Ljava/lang/String;"])) + argument
    body += b"H" + b"".join(map(short, [b"path", b"com.test.Echo", b"version", b"1.0.0"])) + b"Z"
    call = b"\xda\xbb\xc2\0\x80" + bytes(6) + b"\x2a" + len(body).to_bytes(4, "big") + body
    answer = called(port, call, 16)
    if answer[:12] != b"\xda\xbb\x02\x14\x80" + bytes(6) + b"\x2a" or answer[16:] != b"\x91" + argument:
        raise RuntimeError(f"a call of Dubbo was answered with {answer[:40]!r}")


# By the name that a setup gives.
CHECKS = {"http": http_proxy, "bolt": bolt_proxy, "dubbo": dubbo_proxy}
