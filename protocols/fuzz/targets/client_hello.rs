//! ClientHellos: the same wherever they are cut, within the limits, and nothing but a DNS name for a name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols::client_hello::{ClientHello, HelloError, HelloLimits, HelloReader, is_tls};

/// Small enough for the fuzzer to reach.
const LIMITS: HelloLimits = HelloLimits {
    message: 700,
    records: 12,
    extensions: 20,
};

fuzz_target!(|bytes: &[u8]| {
    // The corpus is what clients send, and golden in the tests: no bytes of it say how to cut.
    let size = usize::from(bytes.last().copied().unwrap_or(3)) + 1;
    let (whole, seen) = read(bytes, bytes.len());
    assert_eq!(read(bytes, 1).0, whole, "byte by byte");
    assert_eq!(read(bytes, size).0, whole, "in portions");
    assert!(seen <= bytes.len());
    match whole {
        Ok(None) => {}
        Ok(Some(hello)) => {
            assert!(seen <= LIMITS.message + 5 * LIMITS.records);
            // What is behind it changes nothing, and no part of it is enough.
            assert_eq!(read(&bytes[..seen], seen).0, Ok(Some(hello.clone())));
            assert_eq!(read(&bytes[..seen - 1], seen).0, Ok(None));
            if let Some(name) = hello.server_name {
                assert!((1..=253).contains(&name.len()));
                assert!(
                    !name
                        .bytes()
                        .any(|byte| byte.is_ascii_uppercase() || byte <= b' ')
                );
            }
            assert!(!hello.versions.is_empty());
        }
        Err(HelloError::NotTls) => assert_eq!(is_tls(bytes), Some(false)),
        Err(_) => assert_eq!(is_tls(bytes), Some(true)),
    }
});

fn read(bytes: &[u8], size: usize) -> (Result<Option<ClientHello>, HelloError>, usize) {
    let mut reader = HelloReader::new(LIMITS);
    let mut end = 0;
    loop {
        let result = reader.read(&bytes[..end]);
        if result != Ok(None) || end == bytes.len() {
            return (result, reader.seen());
        }
        end = bytes.len().min(end + size.max(1));
    }
}
