//! A request under way, from try to try, as `proxy/attempts` has it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_config::Priority;

use super::super::permits::Admitted;
use super::super::{
    Active, Ask, Cluster, Host, HostPlace, HostSpec, MetadataMatch, Place, Report, RequestPlaces,
    Search, sticky_id,
};
use super::kept::{Shelf, Wire};
use super::{Core, Refused};
use crate::fault::{Fault, Retry};
use crate::rng::Rng;

/// What a request asks by.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// What its route makes of it.
    pub hash: Option<u64>,
    /// What its host must have, sorted by key.
    pub metadata: Vec<(String, String)>,
    /// The label of the host that its cookie names.
    pub sticky: Option<String>,
}

/// What became of a try's beginning.
pub enum Begun {
    /// It is sent to a host.
    At(Arc<HostSpec>),
    /// It waits for a connection to one: when it is woken, look again.
    Waiting(Arc<HostSpec>),
}

/// A request under way. Dropped, it gives back what it holds.
pub struct Request {
    search: Search,
    rng: Rc<Rng>,
    shelf: Rc<Shelf>,
    asking: Asking,
    tries: usize,
    /// A further try's place.
    further: Option<Place>,
    state: State,
}

enum State {
    /// Between two tries.
    Between,
    Waiting(Waiting),
    /// A try is under way.
    Sent(Held),
}

/// A wait for a connection.
struct Waiting {
    host: Rc<Host>,
    spec: Arc<HostSpec>,
    places: RequestPlaces,
    at_host: Option<HostPlace>,
    permit: Pin<Box<dyn Future<Output = Result<Admitted<Wire>, Fault>>>>,
}

/// What a try takes.
struct Held {
    host: Rc<Host>,
    wire: Wire,
    _active: Active,
}

impl Request {
    pub(super) fn new(core: &Core, asking: Asking) -> Self {
        Self {
            search: Search::new(&core.cluster),
            rng: Rc::clone(&core.rng),
            shelf: Rc::clone(&core.shelf),
            asking,
            tries: 0,
            further: None,
            state: State::Between,
        }
    }

    /// Begins a try; whom it asks, or waits for.
    pub fn begin(&mut self, waker: &Waker) -> Result<Begun, Refused> {
        self.search.follow();
        if self.tries > 0 {
            let cluster = self.search.cluster();
            // A token is taken only where there is a host to go to.
            if !self.ask(|ask| cluster.has_other(&ask)) {
                return Err(Refused::NoHost);
            }
            self.further = cluster.gate.retry(Priority::Default)?;
        }
        self.pick(waker)
    }

    fn pick(&mut self, waker: &Waker) -> Result<Begun, Refused> {
        self.search.follow();
        let cluster = Rc::clone(self.search.cluster());
        let picked = self.ask(|ask| cluster.pick(&ask));
        let (slot, host) = picked.map_err(|_fault| Refused::NoHost)?;
        let spec = u32::try_from(slot).ok();
        let spec = spec.and_then(|slot| cluster.spec.hosts.get(slot)).cloned();
        let spec = spec.ok_or(Refused::NoHost)?;
        self.search.note(slot);
        self.tries += 1;
        let admitted = cluster.admit(&host, Priority::Default);
        let places = admitted.map_err(|_fault| Refused::Full)?;
        if let Some(kept) = self.shelf.take(host.id()) {
            return Ok(self.sent(&host, spec, places, kept));
        }
        let at_host = cluster.host_connection(&host);
        let at_host = at_host.map_err(|_fault| Refused::Full)?;
        let permit = permit(&cluster, &host, &self.shelf);
        self.state = State::Waiting(Waiting {
            host,
            spec,
            places,
            at_host,
            permit,
        });
        let begun = self.look(waker);
        if let Ok(Begun::Waiting(_)) = begun {
            // What this core keeps idle for other hosts goes first.
            self.shelf.serve(&cluster);
        }
        begun
    }

    /// Looks whether a wait has come to an end.
    pub fn look(&mut self, waker: &Waker) -> Result<Begun, Refused> {
        let State::Waiting(waiting) = &mut self.state else {
            return Err(Refused::NoHost);
        };
        let polled = waiting
            .permit
            .as_mut()
            .poll(&mut Context::from_waker(waker));
        let Poll::Ready(admitted) = polled else {
            return Ok(Begun::Waiting(Arc::clone(&waiting.spec)));
        };
        let State::Waiting(waiting) = std::mem::replace(&mut self.state, State::Between) else {
            return Err(Refused::NoHost);
        };
        let Waiting {
            host,
            spec,
            places,
            at_host,
            permit,
        } = waiting;
        drop(permit);
        match admitted {
            Ok(Admitted::Kept(wire)) => Ok(self.sent(&host, spec, places, wire)),
            Ok(Admitted::New(permit)) => {
                let wire = Wire::new(&host, (permit, at_host));
                Ok(self.sent(&host, spec, places, wire))
            }
            Err(fault) if fault.retry == Retry::NotBegun => {
                drop((places, at_host));
                self.tries -= 1;
                self.search.forget(&host);
                self.pick(waker)
            }
            Err(_full) => Err(Refused::Full),
        }
    }

    fn sent(
        &mut self,
        host: &Rc<Host>,
        spec: Arc<HostSpec>,
        places: RequestPlaces,
        wire: Wire,
    ) -> Begun {
        self.state = State::Sent(Held {
            host: Rc::clone(host),
            wire,
            _active: Active::new(host, places),
        });
        Begun::At(spec)
    }

    /// The try ended after so long: with a status, or without an answer. What control must hear of its host.
    pub fn end(&mut self, status: Option<u16>, elapsed: Duration) -> Option<Report> {
        self.further = None;
        let State::Sent(held) = std::mem::replace(&mut self.state, State::Between) else {
            return None;
        };
        let Held { host, wire, .. } = held;
        let cluster = self.search.cluster();
        if status.is_some() {
            cluster.observe(&host, elapsed);
            self.shelf.park(cluster, wire);
        }
        cluster.judge(&host, status)
    }

    /// How many tries it began.
    pub fn tries(&self) -> usize {
        self.tries
    }

    fn ask<T>(&self, of: impl FnOnce(Ask<'_>) -> T) -> T {
        of(Ask {
            tried: self.search.tried(),
            hash: self.asking.hash,
            metadata: MetadataMatch::new(&self.asking.metadata),
            sticky: self.asking.sticky.as_deref().map(sticky_id),
            ..Ask::new(&self.rng)
        })
    }
}

fn permit(
    cluster: &Rc<Cluster>,
    host: &Rc<Host>,
    shelf: &Rc<Shelf>,
) -> Pin<Box<dyn Future<Output = Result<Admitted<Wire>, Fault>>>> {
    let (cluster, host, shelf) = (Rc::clone(cluster), Rc::clone(host), Rc::clone(shelf));
    Box::pin(async move {
        let kept = || shelf.take(host.id());
        cluster.permit_or(&host, false, kept).await
    })
}
