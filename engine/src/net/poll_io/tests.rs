//! `h2` and plain bytes over the adapter, through real sockets and under both drivers: what is gathered, blocked, watched and given back.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use h2::{client, server};
use http::{Request, Response, StatusCode};
use ringway_config::IoDriver;

use super::*;
use crate::net::{Setup, probe, run, spawn};

/// Runs a case under the ring, where there is one, and under epoll.
fn both_drivers<F: Future<Output = ()>>(case: impl Fn() -> F) {
    let best = probe(IoDriver::Auto).expect("a driver").setup;
    for setup in [best, Setup::Epoll] {
        run(setup, case()).expect("a runtime");
    }
}

fn pair() -> (Stream, Stream) {
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    let open = |socket: UnixStream| {
        socket.set_nonblocking(true).expect("a socket");
        Stream::new(OwnedFd::from(socket)).expect("a stream")
    };
    (open(a), open(b))
}

/// Drives a codec to its end.
async fn drive<F: Future + Unpin>(mut codec: F, pump: Pump) -> F::Output {
    std::future::poll_fn(|cx| pump.poll_with(&mut codec, cx)).await
}

/// A server that answers each request with its own body.
fn echo(stream: Stream) {
    spawn(async move {
        let (io, pump) = poll_io(stream, None);
        let mut handshake = Box::pin(server::handshake(io));
        let mut server = std::future::poll_fn(|cx| pump.poll_with(&mut handshake, cx))
            .await
            .expect("a preface");
        let mut accept = Box::pin(async move {
            while let Some(request) = server.accept().await {
                let (request, mut respond) = request.expect("a request");
                spawn(async move {
                    let mut body = request.into_body();
                    let mut out = respond
                        .send_response(Response::new(()), false)
                        .expect("an answer");
                    while let Some(part) = body.data().await {
                        let part = part.expect("a part");
                        let _ = body.flow_control().release_capacity(part.len());
                        out.send_data(part, false).expect("room");
                    }
                    out.send_data(Bytes::new(), true).expect("room");
                });
            }
        });
        std::future::poll_fn(|cx| pump.poll_with(&mut accept, cx)).await;
    });
}

#[test]
fn h2_speaks_to_itself_over_it() {
    both_drivers(|| async {
        let (ours, theirs) = pair();
        echo(theirs);
        let (io, pump) = poll_io(ours, None);
        let mut handshake = Box::pin(client::handshake(io));
        let (mut send, connection) = std::future::poll_fn(|cx| pump.poll_with(&mut handshake, cx))
            .await
            .expect("a handshake");
        spawn(async move { drive(connection, pump).await.expect("an orderly end") });
        for size in [0, 1, 100_000, 3_000_000] {
            let request = Request::post("http://a.test/").body(()).expect("a request");
            let (answer, mut body) = send.send_request(request, false).expect("a stream");
            body.send_data(Bytes::from(vec![7; size]), true)
                .expect("room");
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK);
            let mut body = answer.into_body();
            let mut came = 0;
            while let Some(part) = body.data().await {
                let part = part.expect("a part");
                came += part.len();
                let _ = body.flow_control().release_capacity(part.len());
            }
            assert_eq!(came, size);
        }
    });
}

async fn write(io: &mut PollIo, bytes: &[u8]) -> io::Result<usize> {
    std::future::poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await
}

async fn read(io: &mut PollIo, room: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; room];
    let mut buf = ReadBuf::new(&mut bytes);
    std::future::poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut buf)).await?;
    Ok(buf.filled().to_vec())
}

async fn pump_dry(pump: &Pump) {
    std::future::poll_fn(|cx| {
        let _again = pump.poll(cx);
        if pump.is_sending() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

#[test]
fn what_is_written_in_a_turn_goes_in_one_send() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let (mut io, pump) = poll_io(ours, None);
        for part in ["ab", "cd", "ef"] {
            write(&mut io, part.as_bytes()).await.expect("room");
            std::future::poll_fn(|cx| Pin::new(&mut io).poll_flush(cx))
                .await
                .expect("nothing to do");
            assert_eq!(pump.sent(), 0);
        }
        pump_dry(&pump).await;
        assert_eq!(pump.sent(), 6);
        theirs.reader.fill(100).await.expect("bytes");
        assert_eq!(&theirs.reader.input[..], b"abcdef");
    });
}

#[test]
fn writing_blocks_at_the_bound_and_goes_on_when_the_peer_reads() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let (mut io, pump) = poll_io(ours, None);
        let part = [7; 8 << 10];
        let mut written = 0;
        loop {
            let wrote = std::future::poll_fn(|cx| {
                let wrote = Pin::new(&mut io).poll_write(cx, &part);
                let again = pump.poll(cx);
                assert!(!again, "blocked and with room at once");
                Poll::Ready(wrote)
            })
            .await;
            match wrote {
                Poll::Ready(wrote) => written += wrote.expect("a socket"),
                Poll::Pending => break,
            }
            assert!(written < 64 << 20, "nothing bounds what is gathered");
        }
        let mut came = 0;
        while came < written {
            let read = {
                let fill = std::pin::pin!(theirs.reader.fill(64 << 10));
                let dry = std::pin::pin!(pump_dry(&pump));
                beside(fill, dry).await
            };
            came += read.expect("bytes");
            theirs.reader.input.clear();
        }
        assert_eq!(write(&mut io, &part).await.expect("room"), part.len());
    });
}

/// The first, while the second goes on beside it.
async fn beside<A: Future, B: Future>(mut a: Pin<&mut A>, mut b: Pin<&mut B>) -> A::Output {
    let mut ended = false;
    std::future::poll_fn(|cx| {
        let polled = a.as_mut().poll(cx);
        ended = ended || b.as_mut().poll(cx).is_ready();
        polled
    })
    .await
}

#[test]
fn a_quiet_connection_holds_no_buffer_and_misses_nothing() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let (mut io, pump) = poll_io(ours, None);
        for round in [b"first", b"again"] {
            {
                let mut early = std::pin::pin!(read(&mut io, 100));
                let pending = std::future::poll_fn(|cx| Poll::Ready(early.as_mut().poll(cx))).await;
                assert!(pending.is_pending());
            }
            std::future::poll_fn(|cx| pump.poll_quieten(cx)).await;
            assert_eq!(pump.shared.input.borrow().reader.input.capacity(), 0);
            theirs
                .writer
                .write_all(Bytes::copy_from_slice(round), |_| ())
                .await
                .expect("a socket");
            assert_eq!(read(&mut io, 100).await.expect("bytes"), round);
        }
        drop(theirs);
        assert_eq!(read(&mut io, 100).await.expect("an end"), b"");
    });
}

#[test]
fn a_codec_that_reads_on_does_not_keep_its_connection_from_getting_quiet() {
    both_drivers(|| async {
        let (ours, _theirs) = pair();
        let (mut io, pump) = poll_io(ours, None);
        let mut reading = std::pin::pin!(read(&mut io, 100));
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            turns += 1;
            assert!(reading.as_mut().poll(cx).is_pending());
            assert!(turns < 10, "each receive taken back is begun anew");
            pump.poll_quieten(cx)
        })
        .await;
        assert_eq!(pump.shared.input.borrow().reader.input.capacity(), 0);
    });
}

#[test]
fn a_connection_gets_quiet_with_half_a_frame_in_hand_and_tells_of_what_comes_meanwhile() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let (io, pump) = poll_io(ours, None);
        let more = || std::future::poll_fn(|cx| io.poll_more(cx));
        let mut said = 0;
        for round in 0..4 {
            let text = Bytes::from_static(b"half");
            let sent = theirs.writer.write_all(text, |_| ()).await;
            sent.expect("a socket");
            if round % 2 == 0 {
                said += more().await.expect("bytes");
            } else {
                // It may come as the receive is taken back, or wake who waits afterwards.
                let pending = std::future::poll_fn(|cx| Poll::Ready(io.poll_more(cx))).await;
                if let Poll::Ready(came) = pending {
                    said += came.expect("bytes");
                }
            }
            let mut turns = 0;
            std::future::poll_fn(|cx| {
                turns += 1;
                assert!(turns < 10, "each receive taken back is begun anew");
                if let Poll::Ready(came) = io.poll_more(cx) {
                    said += came.expect("bytes");
                }
                pump.poll_quieten(cx)
            })
            .await;
            while said < 4 * (round + 1) {
                said += more().await.expect("bytes");
            }
            assert_eq!(io.with_input(|input| input.len()), said);
        }
    });
}

#[test]
fn the_observer_sees_each_byte_once() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let notes = Rc::clone(&seen);
        let observer: Observer = Box::new(move |bytes| {
            notes.borrow_mut().extend_from_slice(bytes);
        });
        let (mut io, _pump) = poll_io(ours, Some(observer));
        let mut say = async |text: &'static [u8]| {
            theirs
                .writer
                .write_all(Bytes::from_static(text), |_| ())
                .await
                .expect("a socket");
        };
        say(b"abcdef").await;
        assert_eq!(read(&mut io, 2).await.expect("bytes"), b"ab");
        assert_eq!(read(&mut io, 100).await.expect("bytes"), b"cdef");
        say(b"xyz").await;
        assert_eq!(read(&mut io, 100).await.expect("bytes"), b"xyz");
        assert_eq!(&seen.borrow()[..], b"abcdefxyz");
    });
}

#[test]
fn the_stream_comes_back_when_nothing_is_in_flight() {
    both_drivers(|| async {
        let (ours, mut theirs) = pair();
        let (mut io, pump) = poll_io(ours, None);
        write(&mut io, b"x").await.expect("room");
        pump_dry(&pump).await;
        drop(io);
        pump.into_stream().expect("a stream").close();
        theirs.reader.fill(10).await.expect("a byte");
        assert_eq!(theirs.reader.fill(10).await.expect("an end"), 0);
    });
}
