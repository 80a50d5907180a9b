"""Runs drills one after the other, says what came of each, and fails if one did."""

import pathlib
import shutil
import sys

import faults
import replace
import silence
from stage import Failed, Namespace, Stage

FAULTS = ("killed", "stopped", "slowed", "resetting", "half_open", "killed-http2", "stopped-http2", "killed-tls", "killed-bolt")
DRILLS = {name: faults.drill(name) for name in FAULTS} | {
    "reloads": replace.reloads,
    "names": replace.names,
    "user_timeout": silence.user_timeout,
}
IN_A_NAMESPACE = {"half_open", "user_timeout"}
WITH_OPENSSL = {"killed-tls"}


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, what):
        try:
            print(f"ok: {name}: {what()}", flush=True)
            self.passed += 1
        except Failed as why:
            self.fail(name, why)

    def fail(self, name, why):
        print(f"FAILED: {name}: {why}", flush=True)
        self.failed += 1

    def skip(self, name, why):
        print(f"skipped: {name}: {why}", flush=True)
        self.skipped += 1


def main(binary, work, *names):
    unknown = set(names) - set(DRILLS)
    if unknown:
        sys.exit(f"no such drill: {', '.join(sorted(unknown))}")
    count, no_namespace = Count(), Namespace.missing()
    for name in names or DRILLS:
        if no_namespace and name in IN_A_NAMESPACE:
            count.skip(name, no_namespace)
            continue
        if name in WITH_OPENSSL and shutil.which("openssl") is None:
            count.skip(name, "openssl not found")
            continue
        with Stage(binary, pathlib.Path(work) / name) as stage:
            try:
                DRILLS[name](stage, count.check)
            except Failed as why:
                count.fail(name, why)
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 1 if count.failed else 0


sys.exit(main(*sys.argv[1:]))
