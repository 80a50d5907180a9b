//! Headers of both versions: as the specification has them, cut at every byte, broken in every way, and as we write them.

use super::*;

const LIMITS: ProxyLimits = ProxyLimits { header: 1000 };

fn tcp(source: &str, destination: &str) -> Option<Ends> {
    Some(Ends::Tcp {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    })
}

/// The outcome is the same however the bytes come, and nothing behind the header is looked at.
fn check(bytes: &[u8], expect: Result<Option<Ends>, ProxyError>) -> Vec<Tlv> {
    let text = String::from_utf8_lossy(bytes);
    for end in 0..bytes.len() {
        match read(&bytes[..end], &LIMITS) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("{text:?} was whole at {end}"),
            Err(error) => {
                assert_eq!(Err(error), expect, "{text:?} at {end}");
                return Vec::new();
            }
        }
    }
    let whole = read(bytes, &LIMITS);
    let ends = whole
        .clone()
        .map(|whole| whole.unwrap_or_else(|| panic!("{text:?} is not whole")))
        .map(|(header, length)| {
            assert_eq!(length, bytes.len(), "{text:?}");
            header.ends
        });
    assert_eq!(ends, expect, "{text:?}");
    let Ok(Some((header, _))) = whole else {
        return Vec::new();
    };
    let longer = [bytes, b"\x16\x03\x01 PROXY \r\n"].concat();
    assert_eq!(
        read(&longer, &LIMITS),
        Ok(Some((header.clone(), bytes.len())))
    );
    header.tlvs
}

#[test]
fn lines_of_text() {
    for (line, expect) in [
        (
            "TCP4 192.0.2.7 192.0.2.1 51000 443",
            Ok(tcp("192.0.2.7:51000", "192.0.2.1:443")),
        ),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 65535",
            Ok(tcp("255.255.255.255:65535", "255.255.255.255:65535")),
        ),
        (
            "TCP6 2001:db8::7 ::1 0 1",
            Ok(tcp("[2001:db8::7]:0", "[::1]:1")),
        ),
        (
            "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            Ok(tcp(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            )),
        ),
        ("UNKNOWN", Ok(None)),
        ("UNKNOWN whatever 1.2.3.4 -5", Ok(None)),
        ("TCP4 192.0.2.7 192.0.2.1 51000", Err(ProxyError::Line)),
        ("TCP4 192.0.2.7 192.0.2.1 51000 443 ", Err(ProxyError::Line)),
        ("TCP4  192.0.2.7 192.0.2.1 51000 443", Err(ProxyError::Line)),
        ("TCP5 192.0.2.7 192.0.2.1 51000 443", Err(ProxyError::Line)),
        ("tcp4 192.0.2.7 192.0.2.1 51000 443", Err(ProxyError::Line)),
        ("UDP4 192.0.2.7 192.0.2.1 51000 443", Err(ProxyError::Line)),
        ("", Err(ProxyError::Line)),
        ("TCP4 192.0.2.7\t192.0.2.1 51000 443", Err(ProxyError::Line)),
        (
            "TCP4 192.0.2.07 192.0.2.1 51000 443",
            Err(ProxyError::Address),
        ),
        ("TCP4 192.0.2 192.0.2.1 51000 443", Err(ProxyError::Address)),
        ("TCP4 ::1 ::1 51000 443", Err(ProxyError::Address)),
        ("TCP6 192.0.2.7 ::1 51000 443", Err(ProxyError::Address)),
        ("TCP6 fe80::1%1 ::1 51000 443", Err(ProxyError::Address)),
        (
            "TCP4 192.0.2.7 192.0.2.1 65536 443",
            Err(ProxyError::Address),
        ),
        ("TCP4 192.0.2.7 192.0.2.1 +1 443", Err(ProxyError::Address)),
        ("TCP4 192.0.2.7 192.0.2.1 01 443", Err(ProxyError::Address)),
        ("TCP4 192.0.2.7 192.0.2.1  443", Err(ProxyError::Address)),
    ] {
        assert!(check(format!("PROXY {line}\r\n").as_bytes(), expect).is_empty());
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), LINE_MAX);
    check(longest.as_bytes(), Ok(None));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    check(longer.as_bytes(), Err(ProxyError::TooLong));
    check(b"PROXY UNKNOWN\n", Err(ProxyError::Line));
    check(b"PROXY UNKNOWN\0\r\n", Err(ProxyError::Line));
    check(b"PROXY UNKNOWN\r\r\n", Err(ProxyError::Line));
}

#[test]
fn what_is_no_header_is_told_at_its_first_byte() {
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXX TCP4",
        b"\r\n\r\n\0\r\nQUIX\n",
        b"\r\nGET / HTTP/1.1\r\n",
    ] {
        check(other, Err(ProxyError::Absent));
    }
}

/// A block of the second version with this command, family and rest.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&(rest.len() as u16).to_be_bytes());
    out.extend_from_slice(rest);
    out
}

/// 192.0.2.7:51000 to 192.0.2.1:443.
const FOUR: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0xc7, 0x38, 0x01, 0xbb];

fn four() -> Result<Option<Ends>, ProxyError> {
    Ok(tcp("192.0.2.7:51000", "192.0.2.1:443"))
}

#[test]
fn blocks_of_bytes() {
    check(&block(0x21, 0x11, &FOUR), four());
    let mut six = [0; 36];
    (six[15], six[31], six[33], six[35]) = (1, 2, 80, 81);
    check(&block(0x21, 0x21, &six), Ok(tcp("[::1]:80", "[::2]:81")));
    let mut unix = vec![0; 216];
    unix[..4].copy_from_slice(b"/a/b");
    unix[108..216].fill(b'x');
    let expect = Ends::Unix {
        source: b"/a/b".to_vec(),
        destination: vec![b'x'; 108],
    };
    check(&block(0x21, 0x31, &unix), Ok(Some(expect)));
    // The proxy's own connections, and those that it knows nothing of: what is behind is passed over, whatever it is.
    for rest in [&b""[..], b"\xff", &FOUR] {
        check(&block(0x20, 0x00, rest), Ok(None));
        check(&block(0x20, 0x11, rest), Ok(None));
        check(&block(0x21, 0x00, rest), Ok(None));
    }
    for (bytes, expect) in [
        (block(0x11, 0x11, &FOUR), ProxyError::Version),
        (block(0x31, 0x11, &FOUR), ProxyError::Version),
        (block(0x22, 0x11, &FOUR), ProxyError::Command),
        (block(0x21, 0x12, &FOUR), ProxyError::Family),
        (block(0x21, 0x10, &FOUR), ProxyError::Family),
        (block(0x21, 0x41, &FOUR), ProxyError::Family),
        (block(0x20, 0x13, &FOUR), ProxyError::Family),
        (block(0x21, 0x11, &FOUR[..11]), ProxyError::Length),
        (block(0x21, 0x21, &FOUR), ProxyError::Length),
        (block(0x21, 0x11, &[0; 985]), ProxyError::TooLong),
    ] {
        check(&bytes, Err(expect));
    }
    // The length says enough: nothing is waited for that would be refused.
    let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(read(&huge, &LIMITS), Err(ProxyError::TooLong));
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

#[test]
fn fields_fill_the_block_and_are_of_their_type() {
    let ssl = |inner: &[u8]| field(tlv::SSL, &[&[7, 0, 0, 0, 0][..], inner].concat());
    let version = field(tlv::SSL_VERSION, b"TLSv1.3");
    for (fields, expect) in [
        (vec![field(tlv::NOOP, b"\0\0\0")], Ok(0)),
        (vec![field(tlv::NOOP, b""), field(tlv::NOOP, b"")], Ok(0)),
        (
            vec![field(tlv::ALPN, b"h2"), field(tlv::AUTHORITY, b"a.test")],
            Ok(2),
        ),
        (vec![field(tlv::UNIQUE_ID, &[0xff; 128])], Ok(1)),
        (vec![field(0xe0, b""), field(0xe0, b"\0")], Ok(2)),
        (vec![ssl(&version)], Ok(1)),
        (vec![ssl(b"")], Ok(1)),
        (vec![vec![tlv::NOOP]], Err(ProxyError::Tlv)),
        (vec![vec![tlv::NOOP, 0]], Err(ProxyError::Tlv)),
        (vec![vec![0xe0, 0, 2, 1]], Err(ProxyError::Tlv)),
        (vec![vec![0xe0, 0xff, 0xff, 1]], Err(ProxyError::Tlv)),
        (vec![field(tlv::AUTHORITY, b"")], Err(ProxyError::Tlv)),
        (vec![field(tlv::AUTHORITY, b"\xff")], Err(ProxyError::Tlv)),
        (vec![field(tlv::AUTHORITY, b"a\0b")], Err(ProxyError::Tlv)),
        (vec![field(tlv::UNIQUE_ID, &[1; 129])], Err(ProxyError::Tlv)),
        (vec![field(tlv::CRC32C, &[0; 3])], Err(ProxyError::Tlv)),
        (vec![field(tlv::SSL, &[1, 0, 0, 0])], Err(ProxyError::Tlv)),
        (vec![ssl(&version[..9])], Err(ProxyError::Tlv)),
        (vec![ssl(&[0xe0, 0, 9])], Err(ProxyError::Tlv)),
        (vec![ssl(&ssl(b""))], Err(ProxyError::Tlv)),
        (
            vec![field(tlv::ALPN, b"h2"), field(tlv::ALPN, b"h2")],
            Err(ProxyError::DuplicateTlv),
        ),
        (vec![field(tlv::CRC32C, &[0; 4])], Err(ProxyError::Checksum)),
    ] {
        let bytes = block(0x21, 0x11, &[FOUR.to_vec(), fields.concat()].concat());
        let wanted = expect.and_then(|_| four());
        assert_eq!(
            check(&bytes, wanted).len(),
            expect.unwrap_or(0),
            "{fields:?}"
        );
    }
}

#[test]
fn what_is_written_is_read() {
    let ends = [
        (tcp("192.0.2.7:51000", "192.0.2.1:443"), None),
        (tcp("[2001:db8::7]:1", "[2001:db8::1]:2"), None),
        (
            tcp("[::ffff:192.0.2.7]:51000", "192.0.2.1:443"),
            tcp("192.0.2.7:51000", "192.0.2.1:443"),
        ),
        (
            tcp("192.0.2.7:1", "[2001:db8::1]:2"),
            tcp("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2"),
        ),
        (None, None),
    ];
    let client = Ssl {
        version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_128_GCM_SHA256"),
        verified: true,
        common_name: Some("partner"),
    };
    let tlvs = [
        Tlv {
            kind: tlv::AUTHORITY,
            value: b"a.test".to_vec(),
        },
        client.tlv(),
    ];
    for (ends, read) in &ends {
        let expect = Ok(read.clone().or_else(|| ends.clone()));
        let line = write(ProxyVersion::V1, ends.as_ref(), &tlvs, true).unwrap();
        assert!(check(&line, expect.clone()).is_empty());
        for checksum in [false, true] {
            let block = write(ProxyVersion::V2, ends.as_ref(), &tlvs, checksum).unwrap();
            let got = check(&block, expect.clone());
            assert_eq!(got, if ends.is_some() { &tlvs[..] } else { &[] });
            if checksum && ends.is_some() {
                let mut changed = block.clone();
                changed[20] ^= 1;
                assert_eq!(super::read(&changed, &LIMITS), Err(ProxyError::Checksum));
            }
        }
    }
    let unix = Ends::Unix {
        source: b"/a".to_vec(),
        destination: vec![b'x'; 108],
    };
    let bytes = write(ProxyVersion::V2, Some(&unix), &[], false).unwrap();
    check(&bytes, Ok(Some(unix.clone())));
    check(
        &write(ProxyVersion::V1, Some(&unix), &[], false).unwrap(),
        Ok(None),
    );
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        check(&write_local(version), Ok(None));
    }
    let long = Tlv {
        kind: 0xe0,
        value: vec![0; 65_530],
    };
    let ends = tcp("192.0.2.7:51000", "192.0.2.1:443");
    assert_eq!(
        write(ProxyVersion::V2, ends.as_ref(), &[long], false),
        Err(TooMuch)
    );
}

/// Figures of others: HAProxy's for the first version, and a block that nginx and HAProxy write alike.
#[test]
fn the_bytes_are_those_that_others_write() {
    let ends = tcp("192.0.2.7:51000", "192.0.2.1:443");
    assert_eq!(
        write(ProxyVersion::V1, ends.as_ref(), &[], false).unwrap(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 443\r\n"
    );
    assert_eq!(
        write(ProxyVersion::V2, ends.as_ref(), &[], false).unwrap(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\xc7\x38\x01\xbb"
    );
    assert_eq!(
        write_local(ProxyVersion::V2),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
    );
}
