//! Sessions against rustls' own buffered connections over a socket, under both drivers: what duplex use, updates of keys,
//! half-closed connections, reads taken back and cut streams do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::{Bytes, BytesMut};
use ringway_config::{Certificate, ClientTls, IoDriver, Offer, ServerTls, Trust};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use super::*;
use crate::net::{Reader, Stream, Writer, probe, run};

/// A certificate for `localhost` that is its own authority.
struct Own {
    cert: String,
    key: String,
}

impl Own {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn files(&self) -> Files {
        let file = |text: &String| Ok(Arc::from(text.as_bytes()));
        [
            ("cert".into(), file(&self.cert)),
            ("key".into(), file(&self.key)),
        ]
        .into_iter()
        .collect()
    }

    fn certificate() -> Certificate {
        Certificate {
            cert: "cert".into(),
            key: "key".into(),
            ocsp: None,
        }
    }

    fn server(&self) -> Server {
        let config = ServerTls {
            certificates: vec![Self::certificate()],
            offer: Offer::default(),
            client: None,
            tickets: true,
            permissive: false,
            key_log: None,
        };
        let material = Material {
            files: self.files(),
            secrets: TicketSecrets(Arc::from([[7; 32]])),
        };
        Server::build(&config, &material, &[b"http/1.1"], "test", None).unwrap()
    }

    fn client(&self) -> Client {
        let config = ClientTls {
            server_name: ringway_config::UpstreamName::Endpoint,
            trust: Trust {
                ca: Some("cert".into()),
                crls: Vec::new(),
                sans: Vec::new(),
                pins: Vec::new(),
            },
            certificate: None,
            offer: Offer::default(),
            handshake_timeout: std::time::Duration::from_secs(5),
            insecure_skip_verify: false,
            key_log: None,
        };
        Client::build(&config, &self.files(), None).unwrap()
    }

    fn peer_client(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConnection {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
    }

    fn peer_server(&self, fragment: Option<usize>) -> ServerConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.max_fragment_size = fragment;
        ServerConnection::new(Arc::new(config)).unwrap()
    }
}

fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_nodelay(true).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours.into(), theirs)
}

/// Runs both ends, ours under each driver that there is.
fn on_drivers<F: Future<Output = ()>>(
    ours: impl Fn(Stream) -> F,
    theirs: impl Fn(TcpStream) + Copy + Send + 'static,
) {
    for driver in [IoDriver::IoUring, IoDriver::Epoll] {
        let Ok(choice) = probe(driver) else {
            continue;
        };
        let (fd, socket) = pair();
        let peer = thread::spawn(move || theirs(socket));
        run(choice.setup, async { ours(Stream::new(fd).unwrap()).await }).unwrap();
        peer.join().unwrap();
    }
}

/// Both, one beside the other.
async fn both(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    let (mut a_done, mut b_done) = (false, false);
    std::future::poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx).is_ready();
        b_done = b_done || b.as_mut().poll(cx).is_ready();
        if a_done && b_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

async fn read_exactly(reader: &mut Reader, length: usize) -> BytesMut {
    while reader.input.len() < length {
        assert_ne!(reader.fill(16 << 10).await.unwrap(), 0, "ended early");
    }
    reader.input.split_to(length)
}

async fn say(writer: &mut Writer, bytes: &'static [u8]) {
    writer
        .write_all(Bytes::from_static(bytes), |_| ())
        .await
        .unwrap();
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

const ALL: &[&rustls::SupportedProtocolVersion] =
    &[&rustls::version::TLS12, &rustls::version::TLS13];

/// Says and hears so much at once, and asks for new keys every now and then.
fn pour_both_ways(own: &Own, socket: TcpStream, total: usize) {
    let mut conn = own.peer_client(ALL);
    socket.set_nonblocking(true).unwrap();
    let (sent, mut written, mut read, mut updates) = (pattern(total), 0, 0, 0);
    let mut buffer = vec![0; 32 << 10];
    while read < total || written < total || conn.wants_write() {
        let mut idle = true;
        if !conn.is_handshaking() && written < total && !conn.wants_write() {
            let end = total.min(written + (20 << 10));
            written += conn.writer().write(&sent[written..end]).unwrap();
            if written / (200 << 10) > updates {
                updates += 1;
                conn.refresh_traffic_keys().unwrap();
            }
        }
        if conn.wants_write() {
            idle &= conn.write_tls(&mut &socket).is_err();
        }
        if conn.read_tls(&mut &socket).is_ok() {
            idle = false;
            conn.process_new_packets().unwrap();
            while let Ok(came @ 1..) = conn.reader().read(&mut buffer) {
                let expected = |at: usize| ((read + at) % 251) as u8;
                assert!(
                    buffer[..came]
                        .iter()
                        .enumerate()
                        .all(|(at, b)| *b == expected(at))
                );
                read += came;
            }
        }
        if idle {
            thread::yield_now();
        }
    }
    assert!(updates > 10);
    conn.send_close_notify();
    socket.set_nonblocking(false).unwrap();
    conn.write_tls(&mut &socket).unwrap();
    let mut stream = StreamOwned::new(conn, socket);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "our close_notify");
}

#[test]
fn both_directions_at_once_with_updates_of_keys() {
    const TOTAL: usize = 6 << 20;
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        let Stream { reader, writer } = &mut stream;
        let reading = async {
            let mut read = 0;
            while read < TOTAL {
                assert_ne!(reader.fill(64 << 10).await.unwrap(), 0);
                let came = reader.input.split();
                assert!(
                    came.iter()
                        .enumerate()
                        .all(|(at, byte)| *byte == ((read + at) % 251) as u8)
                );
                read += came.len();
            }
        };
        let writing = async {
            let mut moved = 0;
            let body = Bytes::from(pattern(TOTAL));
            writer.write_all(body, |part| moved += part).await.unwrap();
            assert_eq!(moved, TOTAL);
        };
        both(reading, writing).await;
        assert_eq!(stream.reader.fill(1).await.unwrap(), 0);
        stream.close();
    };
    let theirs = move |socket: TcpStream| pour_both_ways(own, socket, TOTAL);
    on_drivers(ours, theirs);
}

#[test]
fn half_closed_by_the_peer_the_other_half_goes_on() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        assert_eq!(read_exactly(&mut stream.reader, 5).await, &b"hello"[..]);
        assert_eq!(stream.reader.fill(1).await.unwrap(), 0);
        assert!(stream.reader.has_ended());
        let body = Bytes::from(pattern(300_000));
        let head = BytesMut::from(&b"head"[..]);
        stream.writer.write_both(head, body, |_| ()).await.unwrap();
        stream.writer.finish();
        stream.close();
    };
    let theirs = move |socket: TcpStream| {
        let mut stream = StreamOwned::new(own.peer_client(ALL), socket);
        stream.write_all(b"hello").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut came = Vec::new();
        stream.read_to_end(&mut came).unwrap();
        assert_eq!(&came[..4], b"head");
        assert_eq!(came[4..], pattern(300_000));
    };
    on_drivers(ours, theirs);
}

#[test]
fn half_closed_by_us_the_other_half_goes_on() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        say(&mut stream.writer, b"bye").await;
        stream.writer.finish();
        assert_eq!(
            read_exactly(&mut stream.reader, 200_000).await,
            &pattern(200_000)[..]
        );
        assert_eq!(stream.reader.fill(1).await.unwrap(), 0);
        stream.close();
    };
    let theirs = move |socket: TcpStream| {
        let mut stream = StreamOwned::new(own.peer_client(ALL), socket);
        let mut came = Vec::new();
        stream.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"bye");
        stream.write_all(&pattern(200_000)).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    };
    on_drivers(ours, theirs);
}

#[test]
fn a_stream_that_ends_without_a_close_notify_was_cut() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        assert_eq!(read_exactly(&mut stream.reader, 5).await, &b"hello"[..]);
        let error = stream.reader.fill(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        stream.abort();
    };
    let theirs = move |socket: TcpStream| {
        let mut stream = StreamOwned::new(own.peer_client(ALL), socket);
        stream.write_all(b"hello").unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert!(
            [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&error.kind()),
            "an abort is no clean end: {error}"
        );
    };
    on_drivers(ours, theirs);
}

#[test]
fn what_comes_after_a_close_notify_is_not_read_and_not_spun_on() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        for _ in 0..3 {
            assert_eq!(stream.reader.fill(1).await.unwrap(), 0);
        }
        assert!(stream.reader.input.is_empty());
        stream.close();
    };
    let theirs = move |mut socket: TcpStream| {
        let mut stream = StreamOwned::new(own.peer_client(ALL), socket.try_clone().unwrap());
        stream.conn.complete_io(&mut socket).unwrap();
        stream.conn.send_close_notify();
        // In one piece: once the other end has read the first, it may be gone before a second is written.
        let mut last = Vec::new();
        stream.conn.write_tls(&mut last).unwrap();
        last.extend([23, 3, 3, 0, 64]);
        last.extend([0; 64]);
        stream.sock.write_all(&last).unwrap();
        let mut came = Vec::new();
        // Closing with bytes unread may reset.
        let _ended = stream.read_to_end(&mut came);
        assert!(came.is_empty());
    };
    on_drivers(ours, theirs);
}

#[test]
fn reads_that_are_dropped_or_taken_back_lose_nothing() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        let Stream { reader, writer } = &mut stream;
        let mut noop = Context::from_waker(Waker::noop());
        for round in 0..50 {
            if round % 2 == 0 {
                let mut reading = Box::pin(reader.fill_retractably(1 << 10));
                assert!(matches!(reading.as_mut().poll(&mut noop), Poll::Pending));
                drop(reading);
                assert_eq!(reader.retract().await.unwrap(), 0);
                assert_eq!(reader.pinned(), 0);
                say(writer, b"go").await;
                reader.readable().await.unwrap();
            } else {
                assert!(reader.poll_fill(1 << 10, &mut noop).is_pending());
                say(writer, b"go").await;
            }
            assert_eq!(read_exactly(reader, 20_000).await, &pattern(20_000)[..]);
        }
        stream.close();
    };
    let theirs = move |socket: TcpStream| {
        let mut stream = StreamOwned::new(own.peer_client(ALL), socket);
        for _ in 0..50 {
            let mut go = [0; 2];
            stream.read_exact(&mut go).unwrap();
            stream.write_all(&pattern(20_000)).unwrap();
        }
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    };
    on_drivers(ours, theirs);
}

/// Passes bytes on one by one.
fn dribble(from: TcpStream, to: TcpStream) {
    let (mut from, mut to) = (from, to);
    let mut byte = [0];
    while let Ok(1) = from.read(&mut byte) {
        if to.write_all(&byte).is_err() {
            return;
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}

/// A socket whose every byte arrives alone at `socket`'s other end, and the other way round.
fn dribbling(socket: TcpStream) -> TcpStream {
    let (fd, near) = pair();
    let far = TcpStream::from(fd);
    far.set_nonblocking(false).unwrap();
    let clone = |socket: &TcpStream| socket.try_clone().unwrap();
    let (far2, socket2) = (clone(&far), clone(&socket));
    thread::spawn(move || dribble(far, socket));
    thread::spawn(move || dribble(socket2, far2));
    near
}

#[test]
fn messages_cut_at_every_byte_are_put_together_in_both_versions() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        accept(&mut stream, &own.server(), None).await.unwrap();
        assert_eq!(
            read_exactly(&mut stream.reader, 300).await,
            &pattern(300)[..]
        );
        stream
            .writer
            .write_all(Bytes::from(pattern(300)), |_| ())
            .await
            .unwrap();
        stream.close();
    };
    const EACH: [&[&rustls::SupportedProtocolVersion]; 2] =
        [&[&rustls::version::TLS12], &[&rustls::version::TLS13]];
    for versions in EACH {
        let theirs = move |socket: TcpStream| {
            let mut stream = StreamOwned::new(own.peer_client(versions), dribbling(socket));
            stream.write_all(&pattern(300)).unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).unwrap();
            assert_eq!(came, pattern(300));
        };
        on_drivers(ours, theirs);
    }
}

/// A ticket comes in several records, of which the first is here while we write: rustls wants to see it again then.
#[test]
fn writing_while_a_message_is_half_here_harms_neither() {
    let own = leak(Own::new());
    let ours = |mut stream: Stream| async move {
        let name = ServerName::new("localhost").unwrap();
        connect(&mut stream, &own.client(), &name, &[])
            .await
            .unwrap();
        let facts = Rc::clone(stream.facts().unwrap());
        assert_eq!(
            (facts.version, facts.resumed),
            (Some(ringway_config::TlsVersion::V13), false)
        );
        let Stream { reader, writer } = &mut stream;
        std::future::poll_fn(|cx| {
            assert!(reader.poll_fill(1, cx).is_pending());
            if reader.is_half_here() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        say(writer, b"x").await;
        assert_eq!(read_exactly(reader, 5).await, &b"hello"[..]);
        stream.close();
    };
    let theirs = move |mut socket: TcpStream| {
        let mut conn = own.peer_server(Some(64));
        while conn.is_handshaking() {
            while conn.wants_write() {
                conn.write_tls(&mut socket).unwrap();
            }
            conn.read_tls(&mut socket).unwrap();
            conn.process_new_packets().unwrap();
        }
        // What is left to say are the tickets: the first record, the beginning of the second, and a pause.
        let mut tickets = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut tickets).unwrap();
        }
        let first = 5 + usize::from(u16::from_be_bytes([tickets[3], tickets[4]])) + 10;
        socket.write_all(&tickets[..first]).unwrap();
        let mut byte = [0];
        while conn.reader().read(&mut byte).is_err() {
            conn.read_tls(&mut socket).unwrap();
            conn.process_new_packets().unwrap();
        }
        assert_eq!(byte, *b"x");
        socket.write_all(&tickets[first..]).unwrap();
        let mut stream = StreamOwned::new(conn, socket);
        stream.write_all(b"hello").unwrap();
        assert_eq!(stream.read(&mut byte).unwrap(), 0);
    };
    on_drivers(ours, theirs);
}
