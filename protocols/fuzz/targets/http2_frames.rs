//! Frames through a connection in memory, in portions. As a client's: our codec with our rules behind it. As an upstream's: what the `h2`
//! crate takes for the end of an answer, our scanner has seen.
//!
//! The first byte says which side it is and how large portions are; the preface stands for itself.
#![no_main]

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ringway_protocols::Fields;
use ringway_protocols::http2::codec::{Budgets, Codec, Config, Incoming, Key};
use ringway_protocols::http2::{EndScanner, request, trailers};
use ringway_protocols::message::Framing;
use ringway_protocols_fuzz::http2::{self as shared, LIMITS, Memory, crosses};

/// With the SETTINGS that belong to it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const STREAMS: u32 = 4;
/// Of the connection.
const WINDOW: u32 = 100_000;
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
    key: Key,
    length: Option<u64>,
    received: u64,
}

fn from_client(bytes: &[u8], portion: usize) {
    let mut codec = Codec::new(Config {
        concurrent_streams: STREAMS,
        header_list: 2000,
        stream_window: 300,
        connection_window: WINDOW,
        connect_protocol: true,
        stream_errors: 5,
        unseen_resets: 2,
        output: 1000,
        budgets: Budgets {
            control: 30,
            empty: 5,
        },
    });
    let cx = Context::from_waker(Waker::noop());
    let (mut input, mut open) = (BytesMut::new(), Vec::new());
    for part in bytes.chunks(portion) {
        input.extend_from_slice(part);
        if let Err(failure) = codec.receive(&mut input, &mut |_| ()) {
            codec.end(failure.reason);
        }
        while let Some(Incoming { key, parts }) = codec.accept() {
            let Ok(request) = request(parts, &LIMITS) else {
                codec.let_go(key);
                continue;
            };
            let length = match request.framing {
                Framing::Length(length) => Some(length),
                Framing::Empty | Framing::Chunked | Framing::Close => None,
            };
            crosses(request);
            open.push(Open {
                key,
                length,
                received: 0,
            });
        }
        assert!(codec.held() <= u64::from(WINDOW), "more than its window");
        open.retain_mut(|stream| {
            let over = stream.is_over(&mut codec, &cx);
            if over {
                codec.let_go(stream.key);
            }
            !over
        });
        assert!(open.len() <= STREAMS as usize, "more streams than announced");
        // The other end takes it all.
        codec.output().clear();
        codec.set_backlog(0);
    }
    open.drain(..).for_each(|stream| codec.let_go(stream.key));
    assert_eq!(codec.held(), 0, "held for nobody");
}

impl Open {
    /// Takes what is here of the body; answers at its end.
    fn is_over(&mut self, codec: &mut Codec, cx: &Context<'_>) -> bool {
        if codec.poll_broken(self.key, cx).is_ready() {
            return true;
        }
        while let Poll::Ready(data) = codec.poll_data(self.key, cx) {
            match data {
                Ok(Some(bytes)) => {
                    self.received += bytes.len() as u64;
                    codec.release(self.key, bytes.len());
                }
                Err(_) => return true,
                Ok(None) => return self.end(codec),
            }
        }
        false
    }

    fn end(&mut self, codec: &mut Codec) -> bool {
        if let Some(mut list) = codec.take_trailers(self.key)
            && trailers(&mut list, &LIMITS).is_ok()
        {
            shared::trailers(&list);
        }
        if let Some(length) = self.length {
            assert_eq!(self.received, length, "a length that the data do not have");
        }
        let told = codec.send_head(self.key, 200, &Fields::new(), false);
        if told.is_ok() && codec.room(self.key) >= 6 {
            codec.send_data(self.key, b"answer", true).expect("room");
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
