//! Answers: the same wherever they are cut; written back, the same again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::http1::{HeadLimits, ResponseParser, write_response_head};
use ringway_protocols::message::Method;
use ringway_protocols_fuzz::{HEAD, Responses, response_essence, same_in_any_portions, split};

fuzz_target!(|data: &[u8]| {
    let (sizes, bytes) = split(data);
    same_in_any_portions::<Responses>(sizes, bytes);
    let mut input = BytesMut::from(bytes);
    let Ok(Some(response)) = ResponseParser::new().parse(&mut input, &Method::Get, &HEAD) else {
        return;
    };
    let head = response.head;
    let mut wire = BytesMut::new();
    write_response_head(&mut wire, head.status, &head.reason, head.fields.iter());
    let again = ResponseParser::new()
        .parse(&mut wire, &Method::Get, &HeadLimits::default())
        .expect("what is written is well-formed")
        .expect("and whole");
    assert_eq!(response_essence(&again.head), response_essence(&head));
    if head.status != 204 {
        assert_eq!(again.framing, response.framing);
    }
});
