//! Bodies.

use bytes::BytesMut;

use super::*;
use crate::Fields;

#[test]
fn a_chunked_request_ends_where_its_trailers_end() {
    let seen = requests(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
         A;x=\"y;\"\r\n0123456789\r\n3\r\nabc\r\n000\r\nX-Sum: 1\r\nContent-Length: 9\r\nhost: b\r\n\r\n\
         GET /next HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let [first, second] = &seen.messages[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(first.body, b"0123456789abc");
    assert_eq!(first.trailers, r"X-Sum: 1\r\n");
    assert_eq!(second.line, "GET /next");
}

#[test]
fn chunks_keep_to_their_grammar() {
    use Violation::{
        BareCr, BareLf, ChunkEnd, ChunkExtension, ChunkSize, FieldNoColon, Nul, ObsFold,
    };
    for (body, rule) in [
        ("\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5\r\nhello\r\n\r\n\r\n", ChunkSize),
        (" 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("5 \r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("5;a\nhello\r\n0\r\n\r\n", BareLf),
        ("5;a\rX\r\nhello\r\n0\r\n\r\n", BareCr),
        ("5\r\r\nhello\r\n0\r\n\r\n", BareCr),
        ("5;\0\r\nhello\r\n0\r\n\r\n", Nul),
        ("5\nhello\n0\n\n", BareLf),
        ("5\r\nhello0\r\n\r\n", ChunkEnd),
        ("5\r\nhello!!\r\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", ChunkEnd),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", ChunkSize),
        ("0\r\nX\r\n\r\n", FieldNoColon),
        ("0\r\n X: y\r\n\r\n", ObsFold),
        ("0\r\nX: a\rY: b\r\n\r\n", BareCr),
        ("0\r\n\n", BareLf),
        ("0\r\nX: a\n\r\n", BareLf),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(format!("{head}{body}"), rule);
    }
}

#[test]
fn limits_of_a_body_bite_one_beyond() {
    let limits = BodyLimits {
        chunk_line: 6,
        extensions_total: 8,
        trailer: 8,
        trailers_total: 20,
        trailers: 2,
    };
    let run = |bytes: &str| {
        let mut decoder = BodyDecoder::new(Framing::Chunked, limits);
        let mut input = BytesMut::from(bytes);
        loop {
            match decoder.decode(&mut input) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::NeedMore | Piece::End(_)) => return None,
                Err(violation) => return Some(violation),
            }
        }
    };
    use Violation::{
        ChunkExtensionsTooLong, ChunkLineTooLong, FieldTooLong, TrailersTooLong, TrailersTooMany,
    };
    for (body, expect) in [
        ("000001\r\n", None),
        ("0000001\r\n", Some(ChunkLineTooLong)),
        ("0000001", Some(ChunkLineTooLong)),
        ("1;abc\r\na\r\n1;abc\r\n", None),
        ("1;abc\r\na\r\n1;abcd\r\n", Some(ChunkExtensionsTooLong)),
        ("0\r\na: 45678\r\n\r\n", None),
        ("0\r\na: 456789\r\n\r\n", Some(FieldTooLong)),
        ("0\r\na:\r\nb:\r\n\r\n", None),
        ("0\r\na:\r\nb:\r\nc:\r\n\r\n", Some(TrailersTooMany)),
        ("0\r\na: 45678\r\nb: 45678\r\n\r\n", None),
        ("0\r\na: 45678\r\nb: 45678\r\nc", Some(TrailersTooLong)),
    ] {
        assert_eq!(run(body), expect, "{body:?}");
    }
}

/// A generator that is the same everywhere (xorshift, 64 bits).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn chunks_survive_the_round_trip() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..300 {
        let (mut wire, mut want) = (BytesMut::new(), Vec::new());
        for _ in 0..random.below(6) {
            let data: Vec<u8> = (0..random.below(70))
                .map(|_| u8::try_from(random.below(256)).unwrap())
                .collect();
            if data.is_empty() {
                continue;
            }
            write_chunk_header(&mut wire, data.len());
            wire.extend_from_slice(&data);
            wire.extend_from_slice(b"\r\n");
            want.extend_from_slice(&data);
        }
        let mut trailers = Fields::new();
        for at in 0..random.below(3) {
            trailers.push(format!("X-{at}"), "v");
        }
        write_trailers(&mut wire, Some(&trailers));
        wire.extend_from_slice(b"GET");
        let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
        let (mut input, mut got) = (BytesMut::new(), Vec::new());
        let end = loop {
            match decoder.decode(&mut input).unwrap() {
                Piece::Data(data) => got.extend_from_slice(&data),
                Piece::End(trailers) => break trailers.unwrap_or_default(),
                Piece::NeedMore => {
                    assert!(decoder.on_eof().is_err());
                    let portion = (1 + random.below(9)).min(wire.len());
                    input.extend_from_slice(&wire.split_to(portion));
                }
            }
        };
        input.extend_from_slice(&wire);
        assert_eq!(
            (got, all(&end), &input[..]),
            (want, all(&trailers), &b"GET"[..])
        );
        assert!(decoder.is_done() && decoder.on_eof().is_ok());
    }
}

#[test]
fn data_are_not_copied() {
    for (framing, bytes) in [
        (Framing::Length(5), "hello"),
        (Framing::Close, "hello"),
        (Framing::Chunked, "5\r\nhello\r\n"),
    ] {
        let mut input = BytesMut::from(bytes);
        let range = input.as_ptr_range();
        let mut decoder = BodyDecoder::new(framing, BodyLimits::default());
        let Ok(Piece::Data(data)) = decoder.decode(&mut input) else {
            panic!("no data");
        };
        assert_eq!(data, "hello");
        assert!(range.contains(&data.as_ptr()));
    }
}
