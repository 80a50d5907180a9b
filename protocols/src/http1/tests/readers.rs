//! The two readers of heads against each other: whatever the bytes, what comes whole is read as what comes in portions.

use std::fs;
use std::path::Path;

use bytes::BytesMut;

use super::super::whole;
use super::*;

const SMALL: HeadLimits = HeadLimits {
    start_line: 30,
    field: 40,
    fields_total: 110,
    fields: 4,
    interim: 64,
};

const REQUESTS: [&str; 4] = [
    "GET /a?b=1 HTTP/1.1\r\nHost: a.test:80\r\nX-A: \t v1 \r\nx-b:\r\n\r\nrest",
    "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\nUser-Agent:a\r\n\r\nhello",
    "OPTIONS http://a.test HTTP/1.1\r\nhost:b\r\nConnection: close, Upgrade\r\nUpgrade: a\r\nTE: trailers\r\n\r\n",
    "HEAD * HTTP/1.1\r\n\r\n",
];

const RESPONSES: [&str; 3] = [
    "HTTP/1.1 200 Fine, thank you\r\nServer: a\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 304\r\nX-A:  \r\nDate: \t b \r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
];

/// What a mutation puts in: line ends, white space, what frames.
const PIECES: [&[u8]; 20] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"_",
    b"#",
    b"\x7f",
    b"\x80",
    b"\xc3\xa9",
    b"\r\n ",
    b"\r\n\r\n",
    b"\r\nHost: b",
    b"\r\nContent-Length: 5",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nX_Forwarded-For: a",
    b"HTTP/1.1",
];

/// The first head in all its parts, where each field lies too, and the bytes it took; or the rule broken; or that more is missing.
fn head(side: Side, portions: &[&[u8]], limits: &HeadLimits) -> String {
    let (mut requests, mut responses) = (RequestParser::new(), ResponseParser::new());
    let (mut input, mut fed) = (BytesMut::new(), 0);
    for portion in portions {
        input.extend_from_slice(portion);
        fed += portion.len();
        let read = match side {
            Side::Requests => requests
                .parse(&mut input, limits)
                .map(|read| read.map(|request| format!("{request:?}"))),
            Side::Responses(method) => responses
                .parse(&mut input, &Method::from_token(method.as_bytes()), limits)
                .map(|read| read.map(|response| format!("{response:?}"))),
        };
        match read {
            Ok(None) => {}
            Ok(Some(read)) => return format!("{read} of {}", fed - input.len()),
            Err(violation) => return violation.to_string(),
        }
    }
    "more".into()
}

/// That both readers say the same; says whether the fast one took it.
fn same(side: Side, bytes: &[u8], limits: &HeadLimits) -> bool {
    // After the first byte alone, only the reader of lines goes on.
    let (first, rest) = bytes.split_at(bytes.len().min(1));
    let fast = head(side, &[bytes], limits);
    let slow = head(side, &[first, rest], limits);
    assert_eq!(fast, slow, "{}", text(bytes));
    match side {
        Side::Requests => whole::request(bytes, limits).is_some(),
        Side::Responses(_) => whole::response(bytes, limits).is_some(),
    }
}

/// The seeds of the fuzz targets, without the bytes that say how to cut; and those above.
fn seeds() -> Vec<(Side, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = |name| fs::read_dir(corpus.join(name)).unwrap();
    let bytes = |file: fs::DirEntry| fs::read(file.path()).unwrap().split_off(4);
    let requests = files("request").map(|file| bytes(file.unwrap()));
    let requests = requests.chain(REQUESTS.map(|text| text.as_bytes().to_vec()));
    let mut seeds: Vec<_> = requests.map(|bytes| (Side::Requests, bytes)).collect();
    let responses = files("response").map(|file| bytes(file.unwrap()));
    let responses = responses.chain(RESPONSES.map(|text| text.as_bytes().to_vec()));
    seeds.extend(responses.map(|bytes| (Side::Responses("GET"), bytes)));
    // The order of a folder is not the same everywhere, and the mutations are to be.
    seeds.sort_by(|(_, a), (_, b)| a.cmp(b));
    seeds
}

/// xorshift64: the same mutations each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + self.below(8)).min(bytes.len());
        let piece = match self.below(4) {
            0 => vec![u8::try_from(self.below(256)).unwrap()],
            1 => bytes[at..end].repeat(2),
            _ => PIECES[self.below(PIECES.len())].to_vec(),
        };
        match self.below(3) {
            0 => drop(bytes.splice(at..at, piece)),
            1 => drop(bytes.splice(at..end, piece)),
            _ => drop(bytes.drain(at..end)),
        }
    }
}

#[test]
fn both_readers_agree_on_every_byte_at_every_place() {
    let (mut taken, mut left) = (0, 0);
    let requests = REQUESTS.map(|text| (Side::Requests, text));
    let responses = RESPONSES.map(|text| (Side::Responses("GET"), text));
    for (side, seed) in requests.into_iter().chain(responses) {
        for (at, byte) in (0..seed.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            let mut bytes = seed.as_bytes().to_vec();
            bytes[at] = byte;
            match same(side, &bytes, &HeadLimits::default()) {
                true => taken += 1,
                false => left += 1,
            }
        }
    }
    // Else they would agree because one of them is never asked.
    assert!(taken > 10_000 && left > 10_000, "{taken} {left}");
}

#[test]
fn both_readers_agree_on_mutations() {
    let (mut random, mut taken) = (Random(0x9e37_79b9_7f4a_7c15), 0);
    for (side, seed) in seeds() {
        for limits in [HeadLimits::default(), SMALL] {
            taken += u32::from(same(side, &seed, &limits));
            for _ in 0..2_000 {
                let mut bytes = seed.clone();
                for _ in 0..=random.below(3) {
                    random.mutate(&mut bytes);
                }
                taken += u32::from(same(side, &bytes, &limits));
            }
        }
    }
    assert!(taken > 5_000, "{taken}");
}

#[test]
fn both_readers_agree_on_limits() {
    let seed = REQUESTS[0].as_bytes();
    for size in 0..seed.len() {
        let base = HeadLimits::default();
        for limits in [
            HeadLimits {
                start_line: size,
                ..base
            },
            HeadLimits {
                field: size,
                ..base
            },
            HeadLimits {
                fields_total: size,
                ..base
            },
            HeadLimits {
                fields: size,
                ..base
            },
        ] {
            same(Side::Requests, seed, &limits);
        }
    }
    // Where the fast reader's room ends, and where the limit does.
    for count in [62, 63, 64, 65, 127, 128, 129] {
        let fields = "A: b\r\n".repeat(count);
        let bytes = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        let taken = same(Side::Requests, bytes.as_bytes(), &HeadLimits::default());
        assert_eq!(taken, count <= 64, "{count}");
    }
}

#[test]
fn heads_as_clients_and_servers_send_them_are_taken_whole() {
    for text in &REQUESTS[..3] {
        assert!(
            same(Side::Requests, text.as_bytes(), &HeadLimits::default()),
            "{text}"
        );
    }
    for text in RESPONSES {
        assert!(
            same(
                Side::Responses("GET"),
                text.as_bytes(),
                &HeadLimits::default()
            ),
            "{text}"
        );
    }
    let reason = "HTTP/1.1 200 Schön\r\nX-Ä: ö\r\n\r\n".replace('Ä', "A");
    assert!(same(
        Side::Responses("GET"),
        reason.as_bytes(),
        &HeadLimits::default()
    ));
}
