#!/bin/sh
# What dependencies may be, by deny.toml: no crate that is banned, no licence that is not allowed, no source but crates.io. It fetches what other
# platforms would build, whose licences count too; advisories want a database besides: `cargo deny check` asks for them.
set -eu
cd "$(dirname "$0")/.."
cargo fetch --quiet --locked
exec cargo deny --offline --log-level error check bans licenses sources
