//! Tars: what every codec must hold, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols::tars::Tars;
use ringway_protocols_fuzz::codec;

fuzz_target!(|data: &[u8]| codec(&Tars, data));
