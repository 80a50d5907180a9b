//! Hessian 2 decoded: of any bytes what passes over them says the same, and what was read is written and read again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols_fuzz::hessian;

fuzz_target!(|data: &[u8]| hessian(data));
