//! Bolt: what every codec must hold, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols::bolt::Bolt;
use ringway_protocols_fuzz::codec;

fuzz_target!(|data: &[u8]| codec(&Bolt, data));
