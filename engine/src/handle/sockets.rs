//! The addresses listened on: bound when they come, given up when they go, and taken back while their sockets still close.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::{self as config, ListenAddress, Name, PathError};

use crate::core::Opened;
use crate::net::{self, BoundAddress, Others, Spare};
use crate::snapshot::ListenerSpec;
use crate::view::{ListenerId, OpenGate, Shared};

/// How long sockets that were given up may still be there: longer than a core takes to empty their queues.
const CLOSING: Duration = Duration::from_secs(5);

/// A listening address and its number.
struct Socket {
    id: ListenerId,
    name: Name,
    address: ListenAddress,
    bound: BoundAddress,
    /// One for each core.
    spares: Vec<Arc<Spare>>,
}

impl Socket {
    /// Whether it is the listener's: a new name on an old address keeps the socket. Free ports differ under one address.
    fn serves(&self, listener: &config::Listener) -> bool {
        let free = matches!(&listener.address, ListenAddress::Tcp(address) if address.port() == 0);
        self.address == listener.address && (!free || self.name == listener.name)
    }

    fn renamed(&self, name: &Name) -> Self {
        Self {
            id: self.id,
            name: name.clone(),
            address: self.address.clone(),
            bound: self.bound.clone(),
            spares: self.spares.clone(),
        }
    }
}

/// An address that was given up.
struct Closing {
    bound: BoundAddress,
    since: Instant,
    spares: Vec<Arc<Spare>>,
}

impl Closing {
    /// Whether its sockets may still hold this address.
    fn holds(&self, address: &ListenAddress) -> bool {
        self.since.elapsed() < CLOSING
            && matches!((&self.bound, address), (BoundAddress::Tcp(a), ListenAddress::Tcp(b)) if a == b)
    }
}

/// Those listened on now, and those that still close.
#[derive(Default)]
pub(super) struct Sockets {
    live: Vec<Socket>,
    closing: Vec<Closing>,
    next_id: u32,
}

/// A listener's sockets, one for each core, that its cores have not heard of yet.
struct Fresh {
    socket: Socket,
    fds: Vec<OwnedFd>,
}

impl Sockets {
    /// Listens where these listeners want it, and nowhere else: what is new, for each core. If an address cannot be had, nothing
    /// changes.
    pub(super) fn follow(
        &mut self,
        listeners: &[Arc<ListenerSpec>],
        cores: usize,
        shared: &Shared,
    ) -> Result<Vec<Vec<Opened>>, Vec<PathError>> {
        let mut live = Vec::with_capacity(listeners.len());
        let mut fresh = Vec::new();
        let mut errors = Vec::new();
        let mut next_id = self.next_id;
        let mut wanted = Vec::new();
        for (at, spec) in listeners.iter().enumerate() {
            match self.live.iter().find(|live| live.serves(&spec.config)) {
                Some(kept) => live.push(kept.renamed(&spec.config.name)),
                None => wanted.push((at, &spec.config)),
            }
        }
        // Last those that take a closing socket back, which cannot be undone: by then no address is left that could be refused.
        wanted.sort_by_key(|(_, config)| self.closing_at(&config.address).is_some());
        for (at, config) in wanted {
            if !errors.is_empty() && self.closing_at(&config.address).is_some() {
                break;
            }
            match self.open(config, ListenerId(next_id), cores) {
                Ok(opened) => fresh.push(opened),
                Err(error) => errors.push(PathError::new(
                    format!("listeners[{at}].address"),
                    cannot_listen(&error),
                )),
            }
            next_id += 1;
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.next_id = next_id;
        let mut opened: Vec<Vec<Opened>> = (0..cores).map(|_| Vec::new()).collect();
        for Fresh { socket, fds } in fresh {
            for ((opened, fd), spare) in opened.iter_mut().zip(fds).zip(&socket.spares) {
                opened.push(Opened {
                    id: socket.id,
                    fd,
                    spare: Arc::clone(spare),
                    open: OpenGate::new(&shared.gates),
                });
            }
            live.push(socket);
        }
        let order = |socket: &Socket| {
            listeners
                .iter()
                .position(|spec| socket.serves(&spec.config))
        };
        live.sort_by_key(order);
        let gone = mem::replace(&mut self.live, live);
        self.leave(gone);
        Ok(opened)
    }

    /// Sockets for a listener that has none: those that still close under its address, else new ones.
    fn open(&self, config: &config::Listener, id: ListenerId, cores: usize) -> io::Result<Fresh> {
        let closing = self.closing_at(&config.address);
        let taken = closing.and_then(|gone| {
            let fds = take_back(gone, config.backlog);
            (!fds.is_empty()).then(|| (gone.bound.clone(), fds))
        });
        let others = closing.map_or(Others::None, |_| Others::Closing);
        let (bound, mut fds) = match taken {
            None => net::bind(&config.address, others, config.backlog, cores)?,
            Some(taken) => taken,
        };
        // Cores whose socket had closed just before it was taken back: the others' queues are theirs too.
        while fds.len() < cores
            && let Some(other) = fds.first()
        {
            fds.push(other.try_clone()?);
        }
        let spares = fds.iter().map(|fd| Spare::of(fd).map(Arc::new));
        let spares = spares.collect::<io::Result<_>>()?;
        let socket = Socket {
            id,
            name: config.name.clone(),
            address: config.address.clone(),
            bound,
            spares,
        };
        Ok(Fresh { socket, fds })
    }

    /// Who holds an address that is listened on no more, if anybody does.
    fn closing_at(&self, address: &ListenAddress) -> Option<&Closing> {
        self.closing.iter().rev().find(|gone| gone.holds(address))
    }

    /// Looks after addresses that are listened on no more.
    fn leave(&mut self, gone: Vec<Socket>) {
        self.closing.retain(|gone| gone.since.elapsed() < CLOSING);
        for socket in gone {
            if self.live.iter().any(|kept| kept.bound == socket.bound) {
                continue;
            }
            if let BoundAddress::Unix(path) = &socket.bound {
                net::remove_socket(path);
            }
            self.closing.push(Closing {
                bound: socket.bound,
                since: Instant::now(),
                spares: socket.spares,
            });
        }
    }

    /// Gives all addresses up.
    pub(super) fn leave_all(&mut self) {
        let gone = mem::take(&mut self.live);
        self.leave(gone);
    }

    /// The numbers, in the order of the snapshot's listeners.
    pub(super) fn ids(&self) -> Arc<[ListenerId]> {
        self.live.iter().map(|socket| socket.id).collect()
    }

    /// Where the listeners listen: port 0 resolved.
    pub(super) fn bound(&self) -> Vec<(Name, BoundAddress)> {
        let pairs = self
            .live
            .iter()
            .map(|socket| (socket.name.clone(), socket.bound.clone()));
        pairs.collect()
    }
}

/// The sockets of an address that its cores have not closed yet, listening again.
fn take_back(gone: &Closing, backlog: u32) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for spare in &gone.spares {
        let Some(fd) = spare.take() else { continue };
        match net::again(&fd, backlog) {
            Ok(()) => fds.push(fd),
            Err(error) => {
                tracing::warn!(%error, address = %gone.bound, "a closing socket cannot be taken back")
            }
        }
    }
    fds
}

fn cannot_listen(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "the address is in use by another process; stop that one, or choose another address"
                .to_owned()
        }
        Some(libc::EACCES) => {
            "not allowed to listen here; a port below 1024 needs CAP_NET_BIND_SERVICE".to_owned()
        }
        Some(libc::EADDRNOTAVAIL) => {
            "this machine does not have the address; choose one of its own, or 0.0.0.0 or [::]"
                .to_owned()
        }
        _ => format!("cannot listen here: {error}"),
    }
}
