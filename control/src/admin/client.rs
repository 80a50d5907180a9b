//! The client of the admin interface: what `ringway reload` asks with. One request, one answer, no runtime.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Reading, resolving and building may take long on a large configuration; a process that says nothing for so long is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger than any answer: every error of a configuration, each with its lines.
const ANSWER_MAX: u64 = 16 << 20;

/// What the process said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether it did it.
    pub(crate) good: bool,
    /// In words.
    pub(crate) text: String,
}

/// Asks the process at `HOST:PORT` or `unix:PATH` to reload.
pub(crate) fn reload(address: &str) -> io::Result<Said> {
    match address.strip_prefix("unix:") {
        Some(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            ask(stream, "localhost")
        }
        None => {
            let stream = connect(address)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            ask(stream, address)
        }
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: impl Read + Write, host: &str) -> io::Result<Said> {
    write!(
        stream,
        "POST /reload?format=text HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "no admin interface answers there",
        )
    })
}

/// The admin interface's own answers: a known length, the connection closed after it.
fn parse(answer: &[u8]) -> Option<Said> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    Some(Said {
        good: status == "200",
        text: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let said = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes").unwrap();
        assert_eq!((said.good, said.text.as_str()), (true, "yes"));
        let said = parse(b"HTTP/1.1 400 Bad Request\r\n\r\nno\r\n\r\nno").unwrap();
        assert_eq!((said.good, said.text.as_str()), (false, "no\r\n\r\nno"));
        assert_eq!(parse(b"SSH-2.0-x\r\n"), None);
        assert_eq!(parse(b""), None);
    }
}
