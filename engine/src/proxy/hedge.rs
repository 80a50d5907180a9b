//! Tries beside one another: one that outlasts `per_try_timeout` goes on, and the next begins without it.
//!
//! ```text
//!  first  ├──────── per_try_timeout ┤─────────────────────────────► given up
//!  second                           ├────────── an answer that does ► is the client's
//! ```
//!
//! Only while the whole body is here: two tries cannot both wait for the client.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::answer::Answer;
use super::attempt::{Begun, Way, too_slow};
use super::attempts::{Attempts, Next};
use super::exchange::NOT_YET;
use super::retry::Verdict;
use super::{Interim, NoInterim};
use crate::cluster::{Host, Place};
use crate::fault::{Fault, Side};
use crate::time::{Deadline, Timer};

/// A try under way.
struct Flight<'f, 'a> {
    host: Rc<Host>,
    whole: Rc<Cell<u64>>,
    /// It has been held against its host that it is slow.
    charged: bool,
    place: Option<Place>,
    future: Pin<Box<dyn Future<Output = Tried<'f, 'a>> + 'f>>,
}

/// A try that ended.
struct Tried<'f, 'a> {
    begun: Begun,
    result: Result<Answer<'a>, Fault>,
    interim: Option<&'f mut (dyn Interim + 'f)>,
}

/// What happened.
enum Event<'f, 'a> {
    /// The newest try has outlasted its limit.
    Slow,
    /// A try ended. Whether it had been held against its host already, and its place.
    Ended(Box<Tried<'f, 'a>>, bool, Option<Place>),
}

struct Flights<'f, 'a> {
    all: Vec<Flight<'f, 'a>>,
    /// When the newest will have outlasted its limit.
    slow: Deadline,
    /// Who hears of interim answers: the first try tells.
    interim: Option<&'f mut (dyn Interim + 'f)>,
}

/// Tries until an answer does or no more may be tried.
pub(super) async fn run<'f, 'a: 'f, 'c: 'f>(
    attempts: &mut Attempts<'_, 'c>,
    way: &'f Way<'f, 'a, 'c>,
    interim: &'f mut (dyn Interim + 'f),
) -> Result<Answer<'a>, Fault> {
    let mut flights = Flights {
        all: Vec::new(),
        slow: Deadline::NEVER,
        interim: Some(interim),
    };
    flights.launch(attempts, way, Next::default())?;
    loop {
        let (tried, charged, place) = match flights.next(attempts.cx.timer).await {
            Event::Slow => {
                flights.hedge(attempts, way);
                continue;
            }
            Event::Ended(tried, charged, place) => (tried, charged, place),
        };
        let Tried {
            begun,
            result: tried,
            interim,
        } = *tried;
        if attempts.takes_back(&begun, &tried) {
            flights.interim = flights.interim.take().or(interim);
            let next = Next {
                place,
                ..Next::default()
            };
            let launched = flights.launch(attempts, way, next);
            if flights.all.is_empty() {
                launched?;
            }
            continue;
        }
        drop(place);
        attempts.conclude(&begun, &tried, !charged);
        flights.show(attempts);
        let verdict = attempts.verdict(&tried, way);
        let does = match &tried {
            Ok(_) => verdict == Verdict::Stop,
            Err(fault) => fault.kind.side() == Side::Client,
        };
        // The others may do better.
        if !does && !flights.all.is_empty() {
            continue;
        }
        let Some(next) = attempts.go_on(verdict, &tried, way) else {
            return tried;
        };
        drop(tried);
        if !next.fresh {
            crate::time::sleep(next.wait).await;
        }
        flights.launch(attempts, way, next)?;
    }
}

impl<'f, 'a: 'f> Flights<'f, 'a> {
    /// Begins a try.
    fn launch<'c: 'f>(
        &mut self,
        attempts: &mut Attempts<'_, 'c>,
        way: &'f Way<'f, 'a, 'c>,
        next: Next,
    ) -> Result<(), Fault> {
        let mut begun = attempts.begin(way)?;
        let whole = Rc::new(Cell::new(NOT_YET));
        let interim = self.interim.take();
        let (host, since) = (Rc::clone(&begun.host), Rc::clone(&whole));
        let future = Box::pin(async move {
            let (timer, mut nobody, mut interim) = (Timer::new(), NoInterim, interim);
            let hears: &mut dyn Interim = match &mut interim {
                Some(interim) => &mut **interim,
                None => &mut nobody,
            };
            let one = way.one(&mut begun, next.fresh, &since, hears, &timer);
            let result = one.await;
            Tried {
                begun,
                result,
                interim,
            }
        });
        self.all.push(Flight {
            host,
            whole,
            charged: false,
            place: next.place,
            future,
        });
        self.slow = Deadline::after_opt(attempts.policy.per_try_timeout);
        self.show(attempts);
        Ok(())
    }

    /// Who is asked, for when the request's whole time is over.
    fn show(&self, attempts: &mut Attempts<'_, '_>) {
        attempts.asked = None;
        let fresh = self.all.iter().filter(|flight| !flight.charged);
        let shown = fresh.map(|flight| (Rc::clone(&flight.host), Rc::clone(&flight.whole)));
        attempts.beside = shown.collect();
    }

    /// Until a try ends, or the newest has outlasted its limit.
    async fn next(&mut self, timer: &Timer) -> Event<'f, 'a> {
        let all = &mut self.all;
        let ended = std::future::poll_fn(|cx| {
            for (at, flight) in all.iter_mut().enumerate() {
                if let Poll::Ready(tried) = flight.future.as_mut().poll(cx) {
                    return Poll::Ready((at, tried));
                }
            }
            Poll::Pending
        });
        match timer.within(self.slow, ended).await {
            Ok((at, tried)) => {
                let flight = self.all.swap_remove(at);
                Event::Ended(Box::new(tried), flight.charged, flight.place)
            }
            Err(_elapsed) => Event::Slow,
        }
    }

    /// The newest try is slow: another beside it, if there may be one.
    fn hedge<'c: 'f>(&mut self, attempts: &mut Attempts<'_, 'c>, way: &'f Way<'f, 'a, 'c>) {
        if !way.upload.borrow().can_fork() {
            // As long as the client still sends, it is not the host that is slow.
            self.slow = Deadline::after_opt(attempts.policy.per_try_timeout);
            return;
        }
        self.slow = Deadline::NEVER;
        attempts.cluster().stats.upstream_rq_per_try_timeout.inc();
        if let Some(newest) = self.all.last_mut() {
            newest.charged = true;
            attempts.failed(&newest.host);
        }
        self.show(attempts);
        let again = attempts.tries.after_fault(&too_slow()) == Verdict::Again;
        if !again || !attempts.has_next(false, way) {
            return;
        }
        let Some(place) = attempts.admit() else {
            return;
        };
        way.upload.borrow_mut().rewind();
        attempts.cluster().stats.upstream_rq_hedged.inc();
        let next = Next {
            place,
            ..Next::default()
        };
        // Without a host for it, those under way go on.
        let _no_host = self.launch(attempts, way, next);
    }
}
