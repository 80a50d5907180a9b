"""What the peers in Python share: checks that say for each call whether it went as it should."""
import os
import subprocess
import sys
import threading
import time

BIG = "0123456789" * 300_000
_failed = 0


def check(name, expect, call):
    """`expect`: a value, or a function that says of the value or the error whether it is right."""
    global _failed
    try:
        got = call()
    except Exception as error:
        got = error
    right = expect(got) if callable(expect) else got == expect
    _failed += 0 if right else 1
    print("%s %s%s" % ("ok  " if right else "FAIL", name, "" if right else ": got " + repr(got)[:300]), flush=True)


def is_error(part=""):
    return lambda got: isinstance(got, Exception) and part in repr(got)


def until(value, call):
    """Asks until it goes well: for a server that is starting again."""
    for tries in range(600):
        try:
            if call() == value:
                return value
        except Exception:
            if tries == 599:
                raise
        time.sleep(0.1)


def at_once(count, call):
    """How many of so many calls at once went well; `call` is given the number of each."""
    good = []
    threads = [threading.Thread(target=lambda at=at: call(at) and good.append(at)) for at in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(good)


def _hook(name):
    """What the script does to the proxy when it is told to."""
    subprocess.run(["sh", "-c", os.environ[name]], check=True)


def outlives(slow, echo):
    """A call in flight outlives a configuration that gives its cluster new connections, and the proxy's own end; the longer one, many
    heartbeats. `slow` is given how long to sleep."""

    def during(millis, name):
        got = []

        def call():
            try:
                got.append(slow(millis))
            except Exception as error:
                got.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(0.3)
        _hook(name)
        thread.join()
        return got[0]

    check("a reload mid-call", lambda got: _text(got[0]) == "slept" and _text(got[1]) == "again", lambda: (during(1500, "RINGWAY_RELOAD"), echo("again")))
    check("a drain mid-call", lambda got: _text(got) == "slept", lambda: during(4500, "RINGWAY_DRAIN"))


def _text(got):
    return got.decode() if isinstance(got, bytes) else got


def end():
    sys.stdout.flush()
    os._exit(1 if _failed else 0)
