//! Connections of frames, however they are cut, up to every bound.

use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{self, HEAD, Head};
use super::*;
use crate::http2::hpack::{Decoder, Encoder, Line};
use crate::{FieldId, Fields};

mod rules;

const CONFIG: Config = Config {
    concurrent_streams: 4,
    header_list: 1000,
    stream_window: 1 << 16,
    connection_window: 1 << 17,
    connect_protocol: false,
    stream_errors: 5,
    unseen_resets: 2,
    output: 40_000,
    budgets: Budgets {
        control: 20,
        empty: 3,
    },
};

/// A frame.
fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::head(&mut out, payload.len(), kind, flags, id);
    out.extend_from_slice(payload);
    out.to_vec()
}

/// A client of a codec.
struct Client {
    codec: Codec,
    encoder: Encoder,
    decoder: Decoder,
}

/// What a codec says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Head(u32, Vec<(String, String)>, bool),
    Data(u32, usize, bool),
    Reset(u32, Reason),
    GoAway(u32, Reason),
    Window(u32, u32),
    Ping([u8; 8], bool),
    Settings(bool),
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Client {
    /// Greeted, with nothing left to say.
    fn new(config: Config) -> Self {
        let mut client = Self::ungreeted(config);
        client.take(&PREFACE[..]).expect("a preface");
        client
            .take(&frame(frame::SETTINGS, 0, 0, &[]))
            .expect("SETTINGS");
        client
            .take(&frame(frame::SETTINGS, frame::ACK, 0, &[]))
            .expect("an ACK");
        client.codec.refill(1 << 20, 0);
        client.said();
        client
    }

    fn ungreeted(config: Config) -> Self {
        Self {
            codec: Codec::new(config),
            encoder: Encoder::new(),
            decoder: Decoder::new(4096),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.codec.receive(&mut BytesMut::from(bytes), &mut |_| ())
    }

    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = BytesMut::new();
        self.encoder.begin(&mut out);
        for (name, value) in fields {
            let id = FieldId::of(name.as_bytes());
            self.encoder
                .field(id, name.as_bytes(), value.as_bytes(), &mut out);
        }
        out.to_vec()
    }

    fn request(&mut self, id: u32, more: &[(&str, &str)], ended: bool) -> Vec<u8> {
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/x"),
            (":authority", "a"),
        ];
        let block = self.block(&[&pseudo[..], more].concat());
        let flags = frame::END_HEADERS | if ended { frame::END_STREAM } else { 0 };
        frame(frame::HEADERS, flags, id, &block)
    }

    /// Begins a stream.
    fn start(&mut self, id: u32, ended: bool) -> Key {
        let head = self.request(id, &[], ended);
        self.take(&head).expect("a request");
        self.codec.accept().expect("it").key
    }

    /// All that was said since.
    fn said(&mut self) -> Vec<Said> {
        let mut out = self.codec.output().split();
        let mut said = Vec::new();
        while let Some(head) = out.first_chunk::<HEAD>().map(Head::of) {
            out.advance(HEAD);
            let payload = out.split_to(head.len);
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            let ended = head.has(frame::END_STREAM);
            said.push(match head.kind {
                frame::HEADERS => {
                    let mut lines = Vec::new();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let mut take = |line: Line<'_>| lines.push((text(line.name), text(line.value)));
                    self.decoder.decode(&payload, &mut take).expect("a block");
                    Said::Head(head.id, lines, ended)
                }
                frame::DATA => Said::Data(head.id, head.len, ended),
                frame::RST_STREAM => Said::Reset(head.id, Reason(number(0))),
                frame::GOAWAY => Said::GoAway(number(0), Reason(number(4))),
                frame::WINDOW_UPDATE => Said::Window(head.id, number(0)),
                frame::PING => Said::Ping(payload[..].try_into().unwrap(), ended),
                frame::SETTINGS => Said::Settings(ended),
                other => panic!("a frame of kind {other}"),
            });
        }
        said
    }

    fn data(&mut self, key: Key) -> Poll<Result<Option<Bytes>, Broken>> {
        self.codec.poll_data(key, &cx())
    }
}

fn fields(list: &[(&'static str, &'static str)]) -> Fields {
    let mut fields = Fields::new();
    list.iter()
        .for_each(|(name, value)| fields.push(*name, *value));
    fields
}

#[test]
fn a_request_comes_whole_and_is_answered_wherever_its_bytes_are_cut() {
    let mut client = Client::ungreeted(CONFIG);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(frame::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]));
    bytes.extend(client.request(
        1,
        &[("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")],
        false,
    ));
    bytes.extend(frame(frame::DATA, 0, 1, b"some "));
    bytes.extend(frame(frame::DATA, frame::PADDED, 1, b"\x02data\0\0"));
    let trailers = client.block(&[("x-sum", "7")]);
    let ends = frame::END_HEADERS | frame::END_STREAM;
    bytes.extend(frame(frame::HEADERS, ends, 1, &trailers));
    for size in 1..bytes.len() {
        let mut codec = Codec::new(CONFIG);
        let mut input = BytesMut::new();
        for part in bytes.chunks(size) {
            input.extend_from_slice(part);
            codec.receive(&mut input, &mut |_| ()).expect("frames");
        }
        assert!(codec.is_greeted() && input.is_empty());
        let Incoming { key, parts } = codec.accept().expect("a request");
        assert_eq!(parts.path.as_deref(), Some(&b"/x"[..]));
        assert_eq!(parts.authority.as_deref(), Some(&b"a"[..]));
        assert_eq!(parts.fields.get(b"x-a"), Some(&b"1"[..]));
        assert_eq!(parts.fields.get(b"cookie"), Some(&b"a=1; b=2"[..]));
        assert_eq!((parts.fields.len(), parts.cookies), (2, 2));
        let mut body = Vec::new();
        while let Poll::Ready(Ok(Some(data))) = codec.poll_data(key, &cx()) {
            body.extend_from_slice(&data);
        }
        assert_eq!(body, b"some data");
        assert_eq!(codec.poll_data(key, &cx()), Poll::Ready(Ok(None)));
        let trailers = codec.take_trailers(key).expect("trailers");
        assert_eq!(trailers.get(b"x-sum"), Some(&b"7"[..]));
        codec
            .send_head(key, 200, &fields(&[("Via", "x")]), true)
            .expect("sent");
        codec.let_go(key);
        assert!(!codec.has_streams());
        assert_eq!(codec.held(), 0);
    }
}

#[test]
fn answers_are_frames_of_their_stream() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, true);
    let codec = &mut client.codec;
    codec
        .send_head(key, 103, &fields(&[]), false)
        .expect("sent");
    codec
        .send_head(key, 200, &fields(&[("X-Big", "v"), ("date", "d")]), false)
        .expect("sent");
    let Poll::Ready(Ok(room)) = codec.poll_room(key, &cx()) else {
        panic!("no room");
    };
    assert_eq!(room, frame::FRAME);
    codec.send_data(key, &[7; 10], false).expect("sent");
    codec
        .send_trailers(key, &fields(&[("grpc-status", "0")]))
        .expect("sent");
    assert!(codec.send_data(key, b"x", true).is_err(), "it has ended");
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        client.said(),
        [
            Said::Head(1, vec![line(":status", "103")], false),
            Said::Head(
                1,
                vec![
                    line(":status", "200"),
                    line("x-big", "v"),
                    line("date", "d")
                ],
                false
            ),
            Said::Data(1, 10, false),
            Said::Head(1, vec![line("grpc-status", "0")], true),
        ]
    );
    client.codec.let_go(key);
    assert!(client.said().is_empty() && !client.codec.has_streams());
    let key = client.start(3, true);
    for bad in [("x", "a\r\nb: c"), ("a b", "1"), ("connection", "close")] {
        let unsent = client.codec.send_head(key, 200, &fields(&[bad]), true);
        assert_eq!(unsent, Err(Unsent::Unsendable), "{bad:?}");
        assert!(client.said().is_empty(), "nothing of it went out");
    }
}

#[test]
fn a_large_head_goes_out_in_several_frames() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, true);
    let mut head = Fields::new();
    for at in 0..40 {
        head.push(format!("x-{at}"), "v".repeat(1000));
    }
    client.codec.send_head(key, 200, &head, true).expect("sent");
    let out = client.codec.output().split().freeze();
    let (mut at, mut block, mut kinds) = (0, BytesMut::new(), Vec::new());
    while let Some(head) = out
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map(Head::of)
    {
        assert!(head.len <= frame::FRAME && head.id == 1);
        kinds.push((head.kind, head.flags));
        block.extend_from_slice(&out[at + HEAD..at + HEAD + head.len]);
        at += HEAD + head.len;
    }
    assert_eq!(kinds[0], (frame::HEADERS, frame::END_STREAM));
    let last = kinds.len() - 1;
    assert!(
        kinds[1..last]
            .iter()
            .all(|kind| *kind == (frame::CONTINUATION, 0))
    );
    assert_eq!(kinds[last], (frame::CONTINUATION, frame::END_HEADERS));
    let mut lines = 0;
    let mut take = |_: Line<'_>| lines += 1;
    client.decoder.decode(&block, &mut take).expect("a block");
    assert_eq!(lines, 41);
}

#[test]
fn windows_are_filled_up_when_half_of_them_was_given_back() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, false);
    let part = frame(frame::DATA, 0, 1, &[7; 1 << 14]);
    (0..4).for_each(|_| client.take(&part).expect("a window's worth"));
    assert_eq!(client.codec.held(), 1 << 16);
    // Nothing is given back for what nobody took, and more than the window is refused.
    assert!(client.said().is_empty());
    for _ in 0..2 {
        assert!(matches!(client.data(key), Poll::Ready(Ok(Some(_)))));
        client.codec.release(key, 1 << 14);
    }
    assert_eq!(client.said(), [Said::Window(1, 1 << 15)]);
    client.take(&part).expect("that was opened again");
    client.take(&part).expect("that too");
    client.take(&part).expect("an error of the stream");
    assert_eq!(client.said(), [Said::Reset(1, Reason::FLOW_CONTROL_ERROR)]);
    assert!(matches!(
        client.data(key),
        Poll::Ready(Err(Broken { by: By::Rule, .. }))
    ));
    client.codec.let_go(key);
    assert_eq!(client.codec.held(), 0);
    // What is nobody's comes back to the connection, though not for ever.
    for _ in 0..8 {
        client.take(&part).expect("it was under way");
    }
    let mut opened = 0;
    for said in client.said() {
        let Said::Window(0, more) = said else {
            panic!("{said:?}");
        };
        opened += more;
    }
    assert!(opened >= 1 << 17, "{opened}");
}

#[test]
fn a_window_that_shrank_opens_again_as_its_data_go_on() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, false);
    client
        .take(&frame(frame::DATA, 0, 1, &[7; 1 << 14]))
        .expect("data");
    assert!(client.codec.set_window(1 << 14));
    assert!(!client.codec.set_window(1 << 15), "one at a time");
    client.codec.release(key, 1 << 14);
    client.said();
    client
        .take(&frame(frame::SETTINGS, frame::ACK, 0, &[]))
        .expect("an ACK");
    assert_eq!(client.said(), [Said::Window(1, 1 << 14)]);
    let part = frame(frame::DATA, 0, 1, &[7; 1 << 14]);
    client.take(&part).expect("a window's worth");
    client.take(&part).expect("an error of the stream");
    assert_eq!(client.said(), [Said::Reset(1, Reason::FLOW_CONTROL_ERROR)]);
}

#[test]
fn streams_share_the_connections_room_in_turns() {
    let mut client = Client::new(CONFIG);
    let keys: Vec<_> = [1, 3, 5].map(|id| client.start(id, true)).into();
    let codec = &mut client.codec;
    // The connection's window is less than two streams would send.
    let mut sent = [0; 3];
    let mut turns = Vec::new();
    for round in 0..20 {
        for (at, key) in keys.iter().enumerate() {
            while let Poll::Ready(Ok(room)) = codec.poll_room(*key, &cx()) {
                codec.send_data(*key, &vec![0; room], false).expect("room");
                sent[at] += room;
                turns.push(at);
            }
        }
        let out = codec.output().len();
        codec.output().clear();
        codec.set_backlog(0);
        let _greedy = codec.receive(
            &mut BytesMut::from(&frame(frame::WINDOW_UPDATE, 0, 0, &[0, 0, 0x40, 0])[..]),
            &mut |_| (),
        );
        codec.refill(1 << 20, 0);
        assert!(out <= CONFIG.output + HEAD * 4, "{out} in round {round}");
    }
    // Each has had all that its own window allows.
    assert_eq!(sent, [65_535; 3], "{turns:?}");
    let first_of_last = turns.iter().position(|at| *at == 2).expect("it had a turn");
    let last_of_first = turns.iter().rposition(|at| *at == 0).expect("so had that");
    assert!(
        first_of_last < last_of_first,
        "nobody waits for all of another: {turns:?}"
    );
}

#[test]
fn a_stream_waits_for_its_own_window_alone() {
    let mut client = Client::new(CONFIG);
    // SETTINGS_INITIAL_WINDOW_SIZE of 10.
    client
        .take(&frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]))
        .expect("SETTINGS");
    let (stuck, other) = (client.start(1, true), client.start(3, true));
    let codec = &mut client.codec;
    assert_eq!(codec.poll_room(stuck, &cx()), Poll::Ready(Ok(10)));
    codec.send_data(stuck, &[0; 10], false).expect("room");
    assert!(codec.poll_room(stuck, &cx()).is_pending());
    assert_eq!(codec.room(stuck), 0);
    assert_eq!(codec.poll_room(other, &cx()), Poll::Ready(Ok(10)));
    client
        .take(&frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]))
        .expect("more");
    assert_eq!(client.codec.poll_room(stuck, &cx()), Poll::Ready(Ok(5)));
    // A smaller window may be less than nothing.
    client
        .take(&frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
        .expect("SETTINGS");
    assert!(client.codec.poll_room(stuck, &cx()).is_pending());
    client
        .take(&frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 8]))
        .expect("SETTINGS");
    assert_eq!(client.codec.poll_room(stuck, &cx()), Poll::Ready(Ok(3)));
}

#[test]
fn who_is_let_go_waits_no_more() {
    let mut client = Client::new(CONFIG);
    client.codec.set_backlog(CONFIG.output);
    for id in (1..100).step_by(2) {
        let key = client.start(id, true);
        for _ in 0..3 {
            assert!(client.codec.poll_room(key, &cx()).is_pending());
            assert!(client.codec.poll_taken(key, &cx()).is_pending());
        }
        assert_eq!(
            (client.codec.waiting.len(), client.codec.untaken.len()),
            (1, 1)
        );
        client.codec.let_go(key);
        client.codec.output().clear();
    }
    assert!(client.codec.waiting.is_empty() && client.codec.untaken.is_empty());
}

#[test]
fn a_stream_that_is_let_go_before_its_end_is_reset() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, true);
    client.codec.let_go(key);
    assert_eq!(client.said(), [Said::Reset(1, Reason::CANCEL)]);
    // An answer that is whole before its request was.
    let key = client.start(3, false);
    client.codec.send_data(key, b"x", true).expect("sent");
    client.codec.let_go(key);
    let all = [Said::Data(3, 1, true), Said::Reset(3, Reason::NO_ERROR)];
    assert_eq!(client.said(), all);
    // By the other end.
    let key = client.start(5, false);
    client
        .take(&frame(frame::DATA, 0, 5, b"data"))
        .expect("data");
    client
        .take(&frame(frame::RST_STREAM, 0, 5, &[0, 0, 0, 8]))
        .expect("a reset");
    let broken = Broken {
        reason: Reason::CANCEL,
        by: By::Peer,
    };
    assert_eq!(client.codec.poll_broken(key, &cx()), Poll::Ready(broken));
    assert_eq!(
        client.data(key),
        Poll::Ready(Err(broken)),
        "cut off, and not at its end"
    );
    client.codec.let_go(key);
    assert!(client.said().is_empty() && client.codec.held() == 0);
}

#[test]
fn a_connection_is_left_in_two_steps() {
    let mut client = Client::new(CONFIG);
    let first = client.start(1, true);
    client.codec.leave();
    client.codec.leave();
    let warning = [
        Said::GoAway(LAST, Reason::NO_ERROR),
        Said::Ping(FAREWELL, false),
    ];
    assert_eq!(client.said(), warning);
    let crossing = client.start(3, true);
    client
        .take(&frame(frame::PING, frame::ACK, 0, &FAREWELL))
        .expect("a pong");
    assert_eq!(client.said(), [Said::GoAway(3, Reason::NO_ERROR)]);
    let late = client.request(5, &[], true);
    client.take(&late).expect("not served, and no error");
    assert!(client.codec.accept().is_none() && client.said().is_empty());
    client
        .take(&frame(frame::DATA, 0, 5, b"x"))
        .expect("nor this");
    // A failure later on does not raise what it was told.
    let mut other = Client::new(CONFIG);
    other.codec.leave();
    other.start(1, true);
    let pong = frame(frame::PING, frame::ACK, 0, &FAREWELL);
    other.take(&pong).expect("a pong");
    let head = other.request(3, &[], true);
    other.take(&head).expect("not served");
    other.said();
    other.codec.end(Reason::INTERNAL_ERROR);
    assert_eq!(other.said(), [Said::GoAway(1, Reason::INTERNAL_ERROR)]);
    for key in [first, crossing] {
        assert!(!client.codec.is_done());
        client
            .codec
            .send_head(key, 200, &Fields::new(), true)
            .expect("sent");
        client.codec.let_go(key);
    }
    assert!(client.codec.is_done());
}

#[test]
fn a_connection_that_ends_breaks_its_streams() {
    let mut client = Client::new(CONFIG);
    let key = client.start(1, false);
    client.codec.end(Reason::ENHANCE_YOUR_CALM);
    assert!(client.codec.is_done());
    assert_eq!(client.said(), [Said::GoAway(1, Reason::ENHANCE_YOUR_CALM)]);
    assert!(matches!(
        client.codec.poll_broken(key, &cx()),
        Poll::Ready(Broken {
            by: By::Connection,
            ..
        })
    ));
    assert!(client.codec.send_data(key, b"x", true).is_err());
    client.codec.let_go(key);
    // One that nobody had accepted holds nothing either.
    let mut unseen = Client::new(CONFIG);
    let head = unseen.request(1, &[], false);
    unseen.take(&head).expect("a request");
    let data = frame(frame::DATA, 0, 1, b"data");
    unseen.take(&data).expect("data");
    assert_eq!(unseen.codec.held(), 4);
    unseen.codec.end(Reason::PROTOCOL_ERROR);
    assert!(unseen.codec.accept().is_none() && unseen.codec.held() == 0);
    client
        .take(&frame(frame::PING, 0, 0, &[0; 8]))
        .expect("nothing is heard any more");
    assert!(client.said().is_empty());
}

#[test]
fn as_many_streams_as_announced_are_open_at_once() {
    let mut client = Client::new(CONFIG);
    let keys: Vec<_> = [1, 3, 5, 7].map(|id| client.start(id, true)).into();
    let more = client.request(9, &[], true);
    client.take(&more).expect("an error of the stream");
    assert_eq!(client.said(), [Said::Reset(9, Reason::REFUSED_STREAM)]);
    client.codec.let_go(keys[1]);
    client.start(11, true);
}

#[test]
fn what_is_too_large_is_answered_so() {
    let mut client = Client::new(CONFIG);
    let head = client.request(1, &[("x", &"v".repeat(1000))], true);
    client.take(&head).expect("an error of the stream");
    let status = vec![(":status".to_owned(), "431".to_owned())];
    assert_eq!(client.said(), [Said::Head(1, status, true)]);
    assert!(client.codec.accept().is_none() && !client.codec.has_streams());
    // The tables have stayed the same.
    client.start(3, true);
}
