//! Words to systemd (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names, nothing where it is not set.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::os;

/// The process serves.
pub(crate) fn ready(status: &str) {
    send(&format!("READY=1\nSTATUS={status}"));
}

/// A reload began; `ready` ends it. systemd compares the clock with the signal's (`Type=notify-reload`).
pub(crate) fn reloading() {
    send(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}",
        os::monotonic_micros()
    ));
}

/// The process stops.
pub(crate) fn stopping(status: &str) {
    send(&format!("STOPPING=1\nSTATUS={status}"));
}

fn send(message: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    // A supervisor that does not listen is no reason to stop serving.
    if let Err(error) = send_to(&socket, message) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn send_to(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_name_are_both_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send_to(path.as_os_str(), "READY=1").unwrap();
        let mut bytes = [0; 64];
        let len = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"READY=1");

        let name = format!("ringway-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send_to(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        let len = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"STOPPING=1");
    }
}
