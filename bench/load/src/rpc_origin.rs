//! The origin of RPC protocols: gives each call's argument back, in the order of the calls, with one send for all that came at once.
//! Asked by HTTP, it says how many connections it took.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::args::Args;
use crate::error::LoadError;
use crate::form::{Form, TYPES, bolt_answer_head};
use crate::poller::Poller;

/// The token of the listening socket; connections have theirs from zero.
const LISTENER: usize = usize::MAX - 1;
/// Room for many calls of 1 KiB in one receive.
const BUFFER: usize = 256 << 10;

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Answers until it is killed.
pub(crate) fn run(args: &Args, form: Form) -> Result<(), LoadError> {
    let address: SocketAddr = args.need("listen")?;
    let listener = TcpListener::bind(address).map_err(LoadError::io("bind"))?;
    let told = listener.set_nonblocking(true);
    told.map_err(LoadError::io("nonblocking"))?;
    let mut poller = Poller::new()?;
    let watched = poller.watch_level(&listener, LISTENER);
    watched.map_err(LoadError::io("watching the listener"))?;
    let (mut clients, mut tokens) = (Vec::<Option<Client>>::new(), Vec::new());
    let mut buffer = vec![0; BUFFER];
    loop {
        poller.wait(&mut tokens)?;
        for &token in &tokens {
            if token == LISTENER {
                accept(&listener, &poller, &mut clients);
                continue;
            }
            let taken = clients.len();
            let Some(place) = clients.get_mut(token) else {
                continue;
            };
            let goes_on = place
                .as_mut()
                .is_some_and(|client| client.advance(form, taken, &mut buffer));
            if !goes_on {
                *place = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poller: &Poller, clients: &mut Vec<Option<Client>>) {
    while let Ok((stream, _)) = listener.accept() {
        let ready = stream.set_nonblocking(true).is_ok() && stream.set_nodelay(true).is_ok();
        if ready && poller.watch(&stream, clients.len()).is_ok() {
            clients.push(Some(Client {
                stream,
                input: Vec::new(),
                output: Vec::new(),
            }));
        }
    }
}

impl Client {
    /// Reads, answers and sends until the socket has no more. Whether the connection goes on.
    fn advance(&mut self, form: Form, taken: usize, buffer: &mut [u8]) -> bool {
        loop {
            if !self.flush() {
                return false;
            }
            if !self.output.is_empty() {
                return true;
            }
            let count = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            self.input
                .extend_from_slice(buffer.get(..count).unwrap_or_default());
            if self.input.starts_with(b"GET ") {
                let body = taken.to_string();
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                self.input.clear();
                self.output.extend_from_slice(answer.as_bytes());
            } else if answers(form, &mut self.input, &mut self.output).is_none() {
                return false;
            }
        }
    }

    fn flush(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// Answers the calls that are whole; none if these are no calls.
pub(crate) fn answers(form: Form, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Option<()> {
    let mut at = 0;
    while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
        let length = match form {
            Form::Http => return None,
            Form::Bolt => bolt(rest, output)?,
            Form::Dubbo => dubbo(rest, output)?,
        };
        if length == 0 {
            break;
        }
        at += length;
    }
    input.drain(..at);
    Some(())
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Answers a call of Bolt, or a heartbeat; says how long it was, 0 if it is not all here.
fn bolt(bytes: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    if *bytes.first()? != 1 {
        return None;
    }
    let Some(head) = bytes.get(..22) else {
        return Some(0);
    };
    let body = 22 + number(&head[14..16]) + number(&head[16..18]);
    let total = body + number(&head[18..22]);
    let Some(content) = bytes.get(body..total) else {
        return Some(0);
    };
    let mut answer = bolt_answer_head(*head[5..].first_chunk()?, head[9], content.len() as u32);
    // A heartbeat's answer is of its command.
    if head[3] == 0 {
        answer[3] = 0;
    }
    output.extend_from_slice(&answer);
    output.extend_from_slice(content);
    Some(total)
}

/// The same of Dubbo.
fn dubbo(bytes: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    if *bytes.first()? != 0xda {
        return None;
    }
    let Some(head) = bytes.get(..16) else {
        return Some(0);
    };
    let total = 16 + number(&head[12..16]);
    let Some(body) = bytes.get(16..total) else {
        return Some(0);
    };
    let is_event = head[2] & 0x20 != 0;
    let value = if is_event { body } else { argument(body)? };
    let (flags, word) = if is_event {
        (0x22, &b""[..])
    } else {
        (2, &b"\x91"[..])
    };
    output.extend_from_slice(&[0xda, 0xbb, flags, 20]);
    output.extend_from_slice(&head[4..12]);
    output.extend_from_slice(&((word.len() + value.len()) as u32).to_be_bytes());
    output.extend_from_slice(word);
    output.extend_from_slice(value);
    Some(total)
}

/// The text behind the types of the arguments, with what says its length.
fn argument(body: &[u8]) -> Option<&[u8]> {
    let types = body
        .windows(TYPES.len())
        .position(|window| window == TYPES)?;
    let text = body.get(types + TYPES.len()..)?;
    let length = number(text.get(1..3)?);
    text.get(..3 + length)
}
