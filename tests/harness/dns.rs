//! A name server that says what it is told to, over UDP and TCP (RFC 1035), and counts what it is asked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::wait::{DEADLINE, wait_for};

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mood {
    /// It answers what it knows; NXDOMAIN for a name of which it knows nothing.
    #[default]
    Well,
    /// It says nothing.
    Silent,
    /// SERVFAIL.
    Failing,
    /// SERVFAIL where addresses of IPv6 are asked for, and well otherwise.
    Half,
    /// Its datagrams are cut short: the answer is to be had over TCP.
    Cut,
}

/// What a record says.
#[derive(Clone, Debug)]
enum Data {
    Ip(IpAddr),
    Service(u16, u16, u16, String),
}

#[derive(Debug, Default)]
struct Shared {
    records: Mutex<HashMap<String, (u32, Vec<Data>)>>,
    mood: Mutex<Mood>,
    asked: Mutex<Vec<(String, u16, Instant)>>,
    over_tcp: AtomicBool,
    stop: AtomicBool,
}

/// A name server, answering until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl NameServer {
    /// Answers at a free port.
    #[allow(
        clippy::new_without_default,
        reason = "it takes a port, which a default should not"
    )]
    pub fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let (udp, tcp) = wait_for("a port free for both", || {
            let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
            let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
            Some((udp, tcp))
        });
        let addr = udp.local_addr().expect("a bound socket");
        let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::spawn(move || datagrams(&udp, &one));
        std::thread::spawn(move || streams(&tcp, &other));
        Self { addr, shared }
    }

    /// Where it answers.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The key of `process:` that has it asked.
    pub fn key(&self) -> String {
        format!(
            "dns: {{ servers: [\"{}\"], min_ttl: 100ms, timeout: 3s }}",
            self.addr
        )
    }

    /// The addresses of a name, which live so many seconds.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let ip = |text: &&str| Data::Ip(text.parse().expect("an address"));
        self.put(name, ttl, addresses.iter().map(ip).collect());
    }

    /// The services of a name: priority, weight, port, target.
    pub fn set_services(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let data = services.iter().map(|(priority, weight, port, target)| {
            Data::Service(*priority, *weight, *port, (*target).to_owned())
        });
        self.put(name, ttl, data.collect());
    }

    fn put(&self, name: &str, ttl: u32, data: Vec<Data>) {
        let mut records = self.shared.records.lock().expect("whole");
        records.insert(name.to_owned(), (ttl, data));
    }

    /// Forgets a name.
    pub fn forget(&self, name: &str) {
        self.shared.records.lock().expect("whole").remove(name);
    }

    /// Behaves so from now on.
    pub fn be(&self, mood: Mood) {
        *self.shared.mood.lock().expect("whole") = mood;
    }

    /// When a name's addresses of IPv4, or its services, were asked for.
    pub fn asked(&self, name: &str) -> Vec<Instant> {
        let asked = self.shared.asked.lock().expect("whole");
        let of = asked
            .iter()
            .filter(|(asked, kind, _)| asked == name && *kind != AAAA);
        of.map(|(_, _, at)| *at).collect()
    }

    /// Whether anything was asked over TCP.
    pub fn was_asked_over_tcp(&self) -> bool {
        self.shared.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the threads, which then see the flag.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(&[0], self.addr);
        }
        let _ = TcpStream::connect(self.addr);
    }
}

fn datagrams(socket: &UdpSocket, shared: &Shared) {
    let mut buf = [0; 4096];
    while let Ok((n, from)) = socket.recv_from(&mut buf) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if let Some(answer) = shared.answer(&buf[..n], false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn streams(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else {
            return;
        };
        std::thread::spawn(move || serve(stream, &shared));
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        shared.over_tcp.store(true, Ordering::SeqCst);
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = shared.answer(&query, true) else {
            return;
        };
        let length = u16::try_from(answer.len()).expect("short").to_be_bytes();
        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
            return;
        }
    }
}

impl Shared {
    /// The answer to a query; none: it is silent, or that was no query.
    fn answer(&self, query: &[u8], whole: bool) -> Option<Vec<u8>> {
        let (name, kind, end) = question(query)?;
        let mood = *self.mood.lock().expect("whole");
        let asked = (name.clone(), kind, Instant::now());
        self.asked.lock().expect("whole").push(asked);
        let records = self.records.lock().expect("whole");
        let found = records.get(&name);
        let (mut code, mut cut, mut answers) = (0_u8, false, Vec::new());
        match (mood, found) {
            (Mood::Silent, _) => return None,
            (Mood::Failing, _) => code = 2,
            (Mood::Half, _) if kind == AAAA => code = 2,
            (Mood::Cut, _) if !whole => cut = true,
            (_, None) => code = 3,
            (_, Some((ttl, data))) => {
                answers.extend(data.iter().filter_map(|one| record(one, kind, *ttl)));
            }
        }
        let mut out = query.get(..2)?.to_vec();
        // A response, recursion desired and available.
        out.extend([0x81 | if cut { 2 } else { 0 }, 0x80 | code]);
        let count = u16::try_from(answers.len()).expect("few");
        for n in [1, count, 0, 0] {
            out.extend(n.to_be_bytes());
        }
        out.extend(query.get(12..end)?);
        out.extend(answers.concat());
        Some(out)
    }
}

/// The name, in lower case, the type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

/// A record for the name of the question, if it is of the type.
fn record(data: &Data, kind: u16, ttl: u32) -> Option<Vec<u8>> {
    let (own, bytes) = match data {
        Data::Ip(IpAddr::V4(ip)) => (A, ip.octets().to_vec()),
        Data::Ip(IpAddr::V6(ip)) => (AAAA, ip.octets().to_vec()),
        Data::Service(priority, weight, port, target) => {
            let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
            let labels = target.split('.').flat_map(|label| {
                let length = u8::try_from(label.len()).expect("a label");
                [&[length], label.as_bytes()].concat()
            });
            (SRV, numbers.into_iter().chain(labels).chain([0]).collect())
        }
    };
    let length = u16::try_from(bytes.len()).expect("short");
    let mut out = vec![0xc0, 12];
    out.extend(own.to_be_bytes());
    out.extend(1_u16.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(bytes);
    (own == kind).then_some(out)
}
