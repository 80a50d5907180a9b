# What the interop suites share: counts of what passed, failed and was skipped, in a folder $work of their own. To be sourced.
passed=0 failed=0 skipped=0
# What it is called, then what must succeed; what that says is shown if it does not.
check() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok: $name"
        passed=$((passed + 1))
    else
        echo "FAILED: $name"
        sed 's/^/    /' "$work/said" | tail -40
        failed=$((failed + 1))
    fi
}
skip() {
    echo "skipped: $1"
    skipped=$((skipped + 1))
}
have() { command -v "$1" >/dev/null; }
