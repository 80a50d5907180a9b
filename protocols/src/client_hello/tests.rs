//! Golden ClientHellos, cut at every byte, and each way that one can be wrong.

use super::*;

const OPENSSL: &[u8] = include_bytes!("../../fuzz/corpus/client_hello/openssl");
const OPENSSL_12: &[u8] = include_bytes!("../../fuzz/corpus/client_hello/openssl12");
const GNUTLS: &[u8] = include_bytes!("../../fuzz/corpus/client_hello/gnutls");
const UNNAMED: &[u8] = include_bytes!("../../fuzz/corpus/client_hello/unnamed");
const RECORDS: &[u8] = include_bytes!("../../fuzz/corpus/client_hello/records");

type Read = Result<Option<ClientHello>, HelloError>;

/// Reads `wire` as it is cut at each of `ends`, to the first result.
fn read_cut(wire: &[u8], ends: impl Iterator<Item = usize>, limits: HelloLimits) -> Read {
    let mut reader = HelloReader::new(limits);
    for end in ends.chain([wire.len()]) {
        match reader.read(&wire[..end]) {
            Ok(None) => assert!(reader.seen() <= end),
            done => return done,
        }
    }
    Ok(None)
}

/// The same in one piece, byte by byte, and cut in two at every place.
fn read_within(wire: &[u8], limits: HelloLimits) -> Read {
    let whole = read_cut(wire, 0..0, limits);
    assert_eq!(read_cut(wire, 0..wire.len(), limits), whole, "bytewise");
    for cut in 0..wire.len() {
        assert_eq!(read_cut(wire, cut..=cut, limits), whole, "cut at {cut}");
    }
    whole
}

fn read(wire: &[u8]) -> Read {
    read_within(wire, HelloLimits::default())
}

fn alpn(hello: &ClientHello) -> Vec<&str> {
    let names = hello.alpn().map(|name| std::str::from_utf8(name).unwrap());
    names.collect()
}

/// A ClientHello in the making.
struct Made {
    version: u16,
    session: Vec<u8>,
    suites: Vec<u8>,
    methods: Vec<u8>,
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            version: 0x0303,
            session: vec![7; 32],
            suites: vec![0x13, 1],
            methods: vec![0],
            extensions: Some(Vec::new()),
        }
    }
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length, bytes].concat()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

impl Made {
    fn with(kind: u16, data: &[u8]) -> Vec<u8> {
        Self {
            extensions: Some(vec![(kind, data.to_vec())]),
            ..Self::default()
        }
        .wire()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        Self::with(0, &vector16(&[&[0], &*vector16(name)].concat()))
    }

    fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend(vector8(&self.session));
        body.extend(vector16(&self.suites));
        body.extend(vector8(&self.methods));
        if let Some(extensions) = &self.extensions {
            let mut all = Vec::new();
            for (kind, data) in extensions {
                all.extend(kind.to_be_bytes());
                all.extend(vector16(data));
            }
            body.extend(vector16(&all));
        }
        message(1, &body)
    }

    fn wire(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &*vector16(fragment)].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let all = message.chunks(size).map(|part| record(22, part));
    all.collect::<Vec<_>>().concat()
}

#[test]
fn reads_what_clients_send() {
    for (wire, name, protocols, tls13) in [
        (
            OPENSSL,
            Some("www.example.test"),
            vec!["h2", "http/1.1"],
            true,
        ),
        (
            RECORDS,
            Some("www.example.test"),
            vec!["h2", "http/1.1"],
            true,
        ),
        (OPENSSL_12, Some("a.test"), vec!["http/1.1"], false),
        (GNUTLS, Some("gnutls.example.test"), vec!["h2"], true),
        (UNNAMED, None, vec![], true),
    ] {
        let hello = read(wire).unwrap().unwrap();
        assert_eq!(hello.server_name.as_deref(), name);
        assert_eq!(alpn(&hello), protocols);
        assert_eq!(hello.offers_tls13(), tls13, "{name:?}");
        // What comes behind it is not looked at.
        let more = [wire, &record(23, b"early")].concat();
        assert_eq!(read(&more), Ok(Some(hello)));
    }
}

#[test]
fn a_part_is_never_whole_and_never_wrong() {
    for wire in [OPENSSL, OPENSSL_12, GNUTLS, UNNAMED, RECORDS] {
        for end in 0..wire.len() {
            assert_eq!(
                read_cut(&wire[..end], 0..0, HelloLimits::default()),
                Ok(None),
                "{end}"
            );
        }
    }
}

#[test]
fn a_hello_without_extensions_offers_its_own_version() {
    for extensions in [None, Some(Vec::new())] {
        let made = Made {
            extensions,
            version: 0x0302,
            ..Made::default()
        };
        let hello = read(&made.wire()).unwrap().unwrap();
        assert_eq!(hello.versions, [0x0302]);
        assert_eq!((hello.alpn().count(), hello.server_name), (0, None));
    }
}

#[test]
fn records_may_cut_the_message_anywhere() {
    let message = Made::default().message();
    for size in 2..message.len() {
        let wire = records(&message, size);
        assert!(
            matches!(
                read_cut(&wire, 0..wire.len(), HelloLimits::default()),
                Ok(Some(_))
            ),
            "{size}"
        );
    }
}

#[test]
fn an_address_is_no_name() {
    for address in ["127.0.0.1", "::1"] {
        assert_eq!(
            read(&Made::named(address.as_bytes()))
                .unwrap()
                .unwrap()
                .server_name,
            None
        );
    }
}

#[test]
fn what_is_no_tls_is_told_by_its_first_bytes() {
    for (bytes, expect) in [
        (&b""[..], None),
        (b"\x16", None),
        (b"\x16\x03", Some(true)),
        (b"\x16\x02", Some(false)),
        (b"G", Some(false)),
        (b"PRI * HTTP/2.0", Some(false)),
        (b"\x15\x03\x01", Some(false)),
        (b"\x80\x2e\x01\x03\x01", Some(false)),
    ] {
        assert_eq!(is_tls(bytes), expect, "{bytes:?}");
        if expect == Some(false) {
            assert_eq!(read(bytes), Err(HelloError::NotTls), "{bytes:?}");
        }
    }
}

#[test]
fn each_wrong_message_has_its_reason() {
    let good = Made::default();
    let made = |change: fn(&mut Made)| {
        let mut made = Made::default();
        change(&mut made);
        made.wire()
    };
    let mut short = good.message();
    short.pop();
    short[3] -= 1;
    let long = message(1, &[&good.message()[4..], &[0]].concat());
    for (wire, expect) in [
        (
            record(22, &message(2, &[0; 40])),
            HelloError::NotClientHello,
        ),
        (
            [record(22, &good.message()[..20]), record(21, &[1, 0])].concat(),
            HelloError::Interleaved,
        ),
        (
            [record(22, &good.message()[..20]), record(22, &[])].concat(),
            HelloError::RecordLength,
        ),
        (record(22, &[]), HelloError::RecordLength),
        (vec![22, 3, 1, 0x40, 1], HelloError::RecordLength),
        (
            record(22, &[&*good.message(), &[0]].concat()),
            HelloError::TrailingBytes,
        ),
        (record(22, &short), HelloError::Malformed),
        (record(22, &long), HelloError::Malformed),
        (record(22, &message(1, &[])), HelloError::Malformed),
        (
            made(|made| made.session = vec![0; 33]),
            HelloError::Malformed,
        ),
        (made(|made| made.suites = vec![]), HelloError::Malformed),
        (
            made(|made| made.suites = vec![1, 2, 3]),
            HelloError::Malformed,
        ),
        (made(|made| made.methods = vec![]), HelloError::Malformed),
        (made(|made| made.version = 0x0200), HelloError::Version),
        (made(|made| made.version = 0xfefd), HelloError::Version),
    ] {
        assert_eq!(read(&wire), Err(expect), "{}", wire.escape_ascii());
    }
}

#[test]
fn each_wrong_extension_has_its_reason() {
    let host = |name: &[u8]| [&[0], &*vector16(name)].concat();
    let twice = Made {
        extensions: Some(vec![(21, vec![]), (21, vec![])]),
        ..Made::default()
    };
    for (wire, expect) in [
        (twice.wire(), HelloError::DuplicateExtension),
        (Made::with(0, &[]), HelloError::ServerName),
        (Made::with(0, &vector16(&[])), HelloError::ServerName),
        (Made::with(0, &vector16(&host(b""))), HelloError::ServerName),
        (
            Made::with(0, &vector16(&[host(b"a.test"), host(b"b.test")].concat())),
            HelloError::ServerName,
        ),
        (
            Made::with(0, &vector16(&[&[1], &*vector16(b"a.test")].concat())),
            HelloError::ServerName,
        ),
        (
            Made::with(0, &[&*vector16(&host(b"a.test")), &[0]].concat()),
            HelloError::ServerName,
        ),
        (Made::named(b"a.test\0.b.test"), HelloError::ServerName),
        (Made::named(b"a_test/x"), HelloError::ServerName),
        (Made::with(16, &[]), HelloError::Alpn),
        (Made::with(16, &vector16(&[])), HelloError::Alpn),
        (Made::with(16, &vector16(&vector8(b""))), HelloError::Alpn),
        (
            Made::with(16, &vector16(&[3, b'h', b'2'])),
            HelloError::Alpn,
        ),
        (Made::with(43, &[]), HelloError::SupportedVersions),
        (Made::with(43, &vector8(&[])), HelloError::SupportedVersions),
        (
            Made::with(43, &vector8(&[3, 4, 3])),
            HelloError::SupportedVersions,
        ),
    ] {
        assert_eq!(read(&wire), Err(expect), "{}", wire.escape_ascii());
    }
}

#[test]
fn each_limit_bites_beyond_it_and_not_at_it() {
    let made = Made {
        extensions: Some((100..103).map(|kind| (kind, vec![1])).collect()),
        ..Made::default()
    };
    let message = made.message();
    let wire = records(&message, 30);
    let exact = HelloLimits {
        message: message.len(),
        records: message.len().div_ceil(30),
        extensions: 3,
    };
    assert!(matches!(read_within(&wire, exact), Ok(Some(_))));
    for (limits, expect) in [
        (
            HelloLimits {
                message: exact.message - 1,
                ..exact
            },
            HelloError::TooLong,
        ),
        (
            HelloLimits {
                records: exact.records - 1,
                ..exact
            },
            HelloError::TooManyRecords,
        ),
        (
            HelloLimits {
                extensions: 2,
                ..exact
            },
            HelloError::TooManyExtensions,
        ),
    ] {
        assert_eq!(read_within(&wire, limits), Err(expect));
    }
}

#[test]
fn names_differ_and_index_is_the_place_in_all() {
    let names: std::collections::BTreeSet<_> =
        HelloError::ALL.iter().map(|error| error.name()).collect();
    assert_eq!(names.len(), HelloError::ALL.len());
    for (at, error) in HelloError::ALL.iter().enumerate() {
        assert_eq!(error.index(), at);
    }
}
