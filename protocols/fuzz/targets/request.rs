//! Requests: the same wherever they are cut; written back, the same again; nothing on the wire that another parser could read
//! in another way.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::http1::{HeadLimits, RequestParser, strip_hop_by_hop, write_request_head};
use ringway_protocols::message::{Framing, RequestHead};
use ringway_protocols_fuzz::{HEAD, Requests, essence, same_in_any_portions, split};

fuzz_target!(|data: &[u8]| {
    let (sizes, bytes) = split(data);
    same_in_any_portions::<Requests>(sizes, bytes);
    let mut input = BytesMut::from(bytes);
    let Ok(Some(request)) = RequestParser::new().parse(&mut input, &HEAD) else {
        return;
    };
    if request.head.authority.is_empty() {
        return;
    }
    let wire = write(&request.head);
    check_wire(&wire);
    let again = parse(&wire);
    assert_eq!(essence(&again.0), essence(&request.head));
    assert_eq!(again.1, request.framing);
    strip(request.head, request.framing);
});

/// As it is forwarded: framing survives, whatever `Connection` names.
fn strip(mut head: RequestHead, framing: Framing) {
    strip_hop_by_hop(&mut head.fields);
    if framing == Framing::Chunked {
        head.fields.push("Transfer-Encoding", "chunked");
    }
    let forwarded = parse(&write(&head));
    assert_eq!(forwarded.1, framing);
    assert_eq!(essence(&forwarded.0), essence(&head));
}

fn write(head: &RequestHead) -> BytesMut {
    let mut wire = BytesMut::new();
    write_request_head(
        &mut wire,
        &head.method,
        &head.target,
        &head.authority,
        head.fields.iter(),
    );
    wire
}

fn parse(wire: &BytesMut) -> (RequestHead, Framing) {
    let mut input = wire.clone();
    let request = RequestParser::new()
        .parse(&mut input, &HeadLimits::default())
        .expect("what is written is well-formed")
        .expect("and whole");
    assert!(input.is_empty());
    (request.head, request.framing)
}

/// CR and LF only as line ends, no control bytes, no folding, one space twice in the request line.
fn check_wire(wire: &[u8]) {
    let text = wire
        .strip_suffix(b"\r\n\r\n")
        .expect("an empty line at the end");
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(
            !line
                .iter()
                .any(|byte| (*byte < 32 && *byte != b'\t') || *byte == 127)
        );
        line
    });
    let first = lines.next().expect("a request line");
    assert_eq!(first.split(|byte| *byte == b' ').count(), 3);
    for line in lines {
        assert!(!line.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t"));
    }
}
