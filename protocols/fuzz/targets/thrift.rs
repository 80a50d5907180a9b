//! Thrift: what every codec must hold, of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols::thrift::Thrift;
use ringway_protocols_fuzz::codec;

fuzz_target!(|data: &[u8]| codec(&Thrift, data));
