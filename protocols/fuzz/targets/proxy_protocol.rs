//! PROXY headers: the same wherever they are cut, within the limit, and what is read is written as a header that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_protocols::proxy_protocol::{ProxyLimits, ProxyVersion, read, write};

const LIMITS: ProxyLimits = ProxyLimits { header: 600 };

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, &LIMITS);
    let mut first = None;
    for end in 0..=bytes.len() {
        let read = read(&bytes[..end], &LIMITS);
        if read != Ok(None) {
            first = Some((read, end));
            break;
        }
    }
    match first {
        None => assert_eq!(whole, Ok(None)),
        Some((read, end)) => {
            assert_eq!(read, whole, "what is behind it changes nothing");
            if let Ok(Some((_, length))) = &read {
                assert_eq!(*length, end);
            }
        }
    }
    let Ok(Some((header, length))) = whole else {
        return;
    };
    assert!(length <= LIMITS.header);
    if header.version == ProxyVersion::V2 && header.ends.is_some() {
        let written = write(header.version, header.ends.as_ref(), &header.tlvs, true).unwrap();
        let limits = ProxyLimits { header: 2000 };
        let (again, _) = read_whole(&written, &limits);
        assert_eq!(again.tlvs, header.tlvs);
    }
});

fn read_whole(
    bytes: &[u8],
    limits: &ProxyLimits,
) -> (ringway_protocols::proxy_protocol::ProxyHeader, usize) {
    read(bytes, limits).unwrap().unwrap()
}
