//! Chunked bodies: the same wherever they are cut, also against a second reading of the grammar; written back, the same again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::Fields;
use ringway_protocols::http1::{BodyDecoder, Piece, Violation, write_chunk_header, write_trailers};
use ringway_protocols::message::Framing;
use ringway_protocols_fuzz::{BODY, fields, split};

/// The body, the trailers if it ended, the bytes behind it or the rule broken.
type Read = (Vec<u8>, Option<String>, Result<Vec<u8>, Violation>);

fuzz_target!(|data: &[u8]| {
    let (sizes, bytes) = split(data);
    let size = usize::from(sizes.first().copied().unwrap_or(3)) % 32 + 1;
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(read(bytes.chunks(size)), whole, "in portions");
    let (body, trailers, Ok(behind)) = whole else {
        return;
    };
    let Some(trailers) = trailers else {
        return;
    };
    assert_eq!(naive(bytes), (body.clone(), behind.clone()));
    let mut wire = BytesMut::new();
    for data in body.chunks(size) {
        write_chunk_header(&mut wire, data.len());
        wire.extend_from_slice(data);
        wire.extend_from_slice(b"\r\n");
    }
    write_trailers(&mut wire, None::<&Fields>);
    wire.extend_from_slice(&behind);
    let again = read(std::iter::once(&wire[..]));
    assert_eq!((again.0, again.2), (body, Ok(behind)));
    // As `fields` writes them: escaped.
    for line in trailers.to_ascii_lowercase().split(r"\r\n") {
        assert!(!line.starts_with("content-length:"), "{line}");
    }
});

fn read<'a>(portions: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut decoder = BodyDecoder::new(Framing::Chunked, BODY);
    let (mut input, mut body, mut end) = (BytesMut::new(), Vec::new(), None);
    for portion in portions {
        input.extend_from_slice(portion);
        while end.is_none() {
            match decoder.decode(&mut input) {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::NeedMore) => break,
                Ok(Piece::End(trailers)) => {
                    end = Some(trailers.as_ref().map(fields).unwrap_or_default());
                }
                Err(violation) => return (body, None, Err(violation)),
            }
        }
    }
    assert_eq!(decoder.on_eof().is_ok(), end.is_some());
    (body, end, Ok(input.to_vec()))
}

/// Reads a body that is known to be good, in the plainest way: the body and what is behind it.
fn naive(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::new();
    loop {
        let line = take_line(&mut bytes);
        let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
        let size = usize::from_str_radix(&digits, 16).expect("a size");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
    while !take_line(&mut bytes).is_empty() {}
    (body, bytes.to_vec())
}

fn take_line(bytes: &mut &[u8]) -> String {
    let end = bytes
        .windows(2)
        .position(|two| two == b"\r\n")
        .expect("a line end");
    let line = bytes[..end].escape_ascii().to_string();
    *bytes = &bytes[end + 2..];
    line
}
