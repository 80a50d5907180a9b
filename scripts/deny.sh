#!/bin/sh
# What dependencies may be, by deny.toml: no crate that is banned, no licence that is not allowed, no source but crates.io. Offline; advisories
# want a database that is fetched: `cargo deny check` asks for them too.
set -eu
cd "$(dirname "$0")/.."
exec cargo deny --offline --log-level error check bans licenses sources
