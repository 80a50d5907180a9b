//! Plain bytes on one side, TLS on the other: any client of the harness speaks TLS through it, and asks for new keys as it goes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use rustls::ClientConnection;

use crate::secure::Secure;
use crate::sys;
use crate::wait::DEADLINE;

/// What is taken from the plain side at once.
const PIECE: usize = 16 << 10;

/// Where one connection after the other becomes one under TLS to `to`. Keys are asked for anew each `updates` bytes.
pub fn bridge(secure: &Secure, to: SocketAddr, name: &str, updates: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("a bound socket");
    let (secure, name) = (secure.clone(), name.to_owned());
    std::thread::spawn(move || {
        for plain in listener.incoming() {
            let plain = plain.expect("a connection");
            let (session, socket) = secure
                .handshake(to, &name)
                .unwrap_or_else(|error| panic!("TLS to {name} at {to}: {error}"));
            std::thread::spawn(move || {
                Joined {
                    plain,
                    session,
                    socket,
                    updates,
                    passed: 0,
                    up_ended: false,
                    down_ended: false,
                }
                .run()
            });
        }
    });
    own
}

struct Joined {
    plain: TcpStream,
    session: ClientConnection,
    socket: TcpStream,
    updates: usize,
    passed: usize,
    up_ended: bool,
    down_ended: bool,
}

/// It broke: the other side is reset.
struct Broken;

impl Joined {
    fn run(mut self) {
        for socket in [&self.plain, &self.socket] {
            socket.set_nonblocking(true).expect("a live socket");
        }
        loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) if self.up_ended && self.down_ended => return,
                Ok(false) => {
                    let writes = self.session.wants_write();
                    let plain = (!self.up_ended && !writes, false);
                    let socket = (!self.down_ended, writes);
                    if !sys::either_ready((&self.plain, plain), (&self.socket, socket), DEADLINE) {
                        return;
                    }
                }
                Err(Broken) => {
                    sys::reset_on_close(&self.plain);
                    sys::reset_on_close(&self.socket);
                    return;
                }
            }
        }
    }

    /// Whether anything moved.
    fn turn(&mut self) -> Result<bool, Broken> {
        let mut moved = false;
        while self.session.wants_write() {
            match self.session.write_tls(&mut &self.socket) {
                Ok(_) => moved = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Broken),
            }
        }
        if !self.up_ended && !self.session.wants_write() {
            moved |= self.up()?;
        }
        if !self.down_ended {
            moved |= self.down()?;
        }
        Ok(moved)
    }

    fn up(&mut self) -> Result<bool, Broken> {
        let mut piece = [0; PIECE];
        match self.plain.read(&mut piece) {
            Ok(0) => {
                self.session.send_close_notify();
                while self.session.wants_write() {
                    self.socket.set_nonblocking(false).map_err(|_| Broken)?;
                    self.session
                        .write_tls(&mut &self.socket)
                        .map_err(|_| Broken)?;
                }
                self.socket.set_nonblocking(true).map_err(|_| Broken)?;
                let _gone = self.socket.shutdown(Shutdown::Write);
                self.up_ended = true;
            }
            Ok(read) => {
                let before = self.passed / self.updates;
                self.passed += read;
                if self.passed / self.updates > before {
                    // TLS 1.2 knows no updates.
                    let _old = self.session.refresh_traffic_keys();
                }
                let taken = self.session.writer().write_all(&piece[..read]);
                taken.map_err(|_| Broken)?;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Broken),
        }
        Ok(true)
    }

    fn down(&mut self) -> Result<bool, Broken> {
        let read = match self.session.read_tls(&mut &self.socket) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Broken),
        };
        let state = self.session.process_new_packets().map_err(|_| Broken)?;
        let mut came = vec![0; state.plaintext_bytes_to_read()];
        let taken = self.session.reader().read_exact(&mut came);
        taken.map_err(|_| Broken)?;
        // The plain side is a test that reads on.
        self.plain.set_nonblocking(false).map_err(|_| Broken)?;
        self.plain.write_all(&came).map_err(|_| Broken)?;
        self.plain.set_nonblocking(true).map_err(|_| Broken)?;
        if state.peer_has_closed() {
            self.down_ended = true;
            let _gone = self.plain.shutdown(Shutdown::Write);
        } else if read == 0 {
            // It was cut.
            return Err(Broken);
        }
        Ok(true)
    }
}
