//! Lists of fields as a client of HTTP/2 sends them: whatever of them the codec and our rules let through is one message of HTTP/1.1,
//! and the same.
//!
//! The input is a line for each field, `name: value`, of which the first bytes of a name with a colon make pseudo-fields.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::http2::codec::{Budgets, Codec, Config, Incoming};
use ringway_protocols::http2::request;
use ringway_protocols_fuzz::http2::{LIMITS, crosses};

/// With the SETTINGS that belong to it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What a length of one byte says.
const SHORT: usize = 126;

fuzz_target!(|data: &[u8]| {
    let Some((first, list)) = data.split_first() else {
        return;
    };
    let mut block = Vec::new();
    for line in list.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().skip(1).position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..=at], &line[at + 2..]);
        if name.len() > SHORT || value.len() > SHORT {
            continue;
        }
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    let Ok([0, high, low]) = <[u8; 3]>::try_from(&(block.len() as u32).to_be_bytes()[1..]) else {
        return;
    };
    let end_stream = first & 1;
    let mut input = BytesMut::from(PREFACE);
    input.extend_from_slice(&[0, high, low, 1, 4 | end_stream, 0, 0, 0, 1]);
    input.extend_from_slice(&block);
    let mut codec = Codec::new(Config {
        concurrent_streams: 1,
        header_list: 4000,
        stream_window: 1000,
        connection_window: 1000,
        connect_protocol: first & 2 != 0,
        stream_errors: 5,
        unseen_resets: 2,
        output: 1000,
        budgets: Budgets {
            control: 30,
            empty: 5,
        },
    });
    if codec.receive(&mut input, &mut |_| ()).is_err() {
        return;
    }
    if let Some(Incoming { parts, .. }) = codec.accept()
        && let Ok(request) = request(parts, &LIMITS)
    {
        crosses(request);
    }
});
