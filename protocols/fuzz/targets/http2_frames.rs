//! Frames through a connection in memory, in portions. As a client's: the codec with our scanner before it and our rules behind it. As an
//! upstream's: what the codec takes for the end of an answer, our scanner has seen.
//!
//! The first byte says which side it is and how large portions are; the preface stands for itself.
#![no_main]

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use libfuzzer_sys::fuzz_target;
use ringway_protocols::http2::{Budgets, EndScanner, FrameScanner, request, trailers};
use ringway_protocols_fuzz::http2::{self as shared, LIMITS, Memory, crosses, fields, parts};

/// With the SETTINGS that belong to it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const STREAMS: u32 = 4;
/// More turns than any input has frames.
const TURNS: usize = 20_000;

fuzz_target!(|data: &[u8]| {
    let Some((first, frames)) = data.split_first() else {
        return;
    };
    let portion = usize::from(first >> 1) * 3 + 1;
    if first & 1 == 0 {
        from_client(&[PREFACE, frames].concat(), portion);
    } else {
        from_upstream(frames, portion);
    }
});

/// Polls `work` until it is done or nothing can come of it any more.
fn drive<T>(work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut cx) = (pin!(work), Context::from_waker(Waker::noop()));
    (0..TURNS).find_map(|_| match work.as_mut().poll(&mut cx) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

/// A stream that a client has open.
struct Open {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    length: Option<u64>,
    received: u64,
}

fn from_client(bytes: &[u8], portion: usize) {
    let budgets = Budgets {
        control: 30,
        empty: 5,
    };
    let scanner = RefCell::new(FrameScanner::new(budgets));
    let memory = Memory::new(bytes, portion, |now| {
        scanner.borrow_mut().scan(now, |_| ()).is_ok()
    });
    let mut cx = Context::from_waker(Waker::noop());
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(2000)
        .initial_window_size(300)
        .initial_connection_window_size(100_000)
        .enable_connect_protocol();
    let Some(Ok(mut codec)) = drive(builder.handshake::<_, Bytes>(memory)) else {
        return;
    };
    let mut open = Vec::new();
    for turn in 0..TURNS {
        match codec.poll_accept(&mut cx) {
            Poll::Ready(Some(Ok((head, respond)))) => {
                let (head, body) = head.into_parts();
                let ended = body.is_end_stream();
                let Ok(request) = request(parts(&head, ended), &LIMITS) else {
                    continue;
                };
                let length = head.headers.get("content-length");
                let length = length.and_then(|text| text.to_str().ok()?.parse().ok());
                crosses(request);
                open.push(Open {
                    body,
                    respond,
                    length,
                    received: 0,
                });
                assert!(open.len() <= STREAMS as usize, "more streams than announced");
            }
            Poll::Ready(Some(Err(_)) | None) => break,
            Poll::Pending if turn > bytes.len() + 64 => break,
            Poll::Pending => {}
        }
        open.retain_mut(|stream| !stream.is_over(&mut cx));
    }
}

impl Open {
    /// Takes what is here of the body; answers at its end.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.respond.poll_reset(cx).is_ready() {
            return true;
        }
        while let Poll::Ready(data) = self.body.poll_data(cx) {
            match data {
                Some(Ok(bytes)) => {
                    self.received += bytes.len() as u64;
                    let _ended = self.body.flow_control().release_capacity(bytes.len());
                }
                Some(Err(_)) => return true,
                None => return self.end(cx),
            }
        }
        false
    }

    fn end(&mut self, cx: &mut Context<'_>) -> bool {
        match self.body.poll_trailers(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Some(map))) => {
                let (mut list, _) = fields(&map);
                if trailers(&mut list, &LIMITS).is_ok() {
                    shared::trailers(&list);
                }
            }
            Poll::Ready(Ok(None)) => {}
            Poll::Ready(Err(_)) => return true,
        }
        if let Some(length) = self.length {
            assert_eq!(self.received, length, "a length that the data do not have");
        }
        let head = http::Response::new(());
        if let Ok(mut stream) = self.respond.send_response(head, false) {
            let _gone = stream.send_data(Bytes::from_static(b"answer"), true);
        }
        true
    }
}

fn from_upstream(bytes: &[u8], portion: usize) {
    let ended = RefCell::new(HashSet::new());
    let mut scanner = EndScanner::default();
    let memory = Memory::new(bytes, portion, |now| {
        scanner.scan(now, |stream| {
            ended.borrow_mut().insert(stream);
        });
        true
    });
    let mut cx = Context::from_waker(Waker::noop());
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(2000);
    let Some(Ok((mut sender, connection))) = drive(builder.handshake::<_, Bytes>(memory)) else {
        return;
    };
    let mut connection = pin!(connection);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let head = http::Request::post("http://a.test/").body(()).expect("a head");
        if let Ok((answer, body)) = sender.send_request(head, false) {
            answers.push((answer, body, None));
        }
    }
    for _ in 0..bytes.len() + 64 {
        let over = connection.as_mut().poll(&mut cx).is_ready();
        answers.retain_mut(|(answer, body, stream)| {
            if stream.is_none() {
                match pin!(answer).poll(&mut cx) {
                    Poll::Ready(Ok(head)) => *stream = Some(head.into_body()),
                    Poll::Ready(Err(_)) => return false,
                    Poll::Pending => return true,
                }
            }
            let Some(data) = stream else { return true };
            while let Poll::Ready(next) = data.poll_data(&mut cx) {
                match next {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                    None => {
                        let id = body.stream_id().as_u32();
                        assert!(ended.borrow().contains(&id), "an end that nobody sent");
                        return false;
                    }
                }
            }
            true
        });
        if over || answers.is_empty() {
            return;
        }
    }
}
