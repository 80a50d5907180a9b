//! Whether a request may be sent again, and when.

use std::time::Duration;

use ringway_config::{Retry as Policy, RetryOn};
use ringway_protocols::message::Method;

use crate::fault::{Fault, FaultKind, Retry};
use crate::grpc::Status;
use crate::rng::Rng;

/// A request's tries so far, held against its policy.
pub(crate) struct Tries<'p> {
    policy: &'p Policy,
    /// Sending it twice is the same as once, or the operator says that it does not matter.
    repeatable: bool,
    /// Tries begun.
    pub(crate) made: u32,
    /// Tries on kept connections that turned out closed: they do not count against `retries`, and there is one at most,
    /// since the next goes over a new connection.
    stale: u32,
    /// Tries that the upstream says it did not process, which do not count either.
    unprocessed: u32,
}

/// How often a request may go without being processed: a host that drains refuses once, and one that goes on is no host to insist on.
const UNPROCESSED_MAX: u32 = 3;

/// What to do after a try that did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Give it up.
    Stop,
    /// It would be tried again, were there tries left.
    Exhausted,
    /// Again, at another host, after the back-off.
    Again,
    /// Again at once over another connection: that one had been closed, or took no more requests.
    AgainFresh,
}

impl<'p> Tries<'p> {
    pub(crate) fn new(policy: &'p Policy, method: &Method) -> Self {
        Self {
            policy,
            repeatable: method.is_idempotent() || policy.non_idempotent,
            made: 0,
            stale: 0,
            unprocessed: 0,
        }
    }

    /// After a fault.
    pub(crate) fn after_fault(&mut self, fault: &Fault) -> Verdict {
        let wanted = match fault.kind {
            FaultKind::ConnectRefused
            | FaultKind::ConnectTimeout
            | FaultKind::ConnectFailed
            | FaultKind::TlsFailed
            | FaultKind::TlsTimeout => self.policy.on.contains(&RetryOn::ConnectFailure),
            FaultKind::Reset | FaultKind::FirstByteTimeout | FaultKind::PerTryTimeout => {
                self.policy.on.contains(&RetryOn::Reset)
            }
            FaultKind::NoRoute
            | FaultKind::NoHost
            | FaultKind::UpstreamProtocol
            | FaultKind::NoTunnel
            | FaultKind::Truncated
            | FaultKind::RequestTimeout
            | FaultKind::IdleTimeout
            | FaultKind::ClientGone
            | FaultKind::ClientProtocol
            | FaultKind::ClientTooSlow
            | FaultKind::BodyTooLarge
            | FaultKind::Overflow
            | FaultKind::Internal => false,
        };
        match fault.retry {
            Retry::Never => Verdict::Stop,
            Retry::Safe if wanted => self.again(),
            Retry::Safe => Verdict::Stop,
            Retry::Unprocessed if self.unprocessed < UNPROCESSED_MAX => {
                self.unprocessed += 1;
                Verdict::AgainFresh
            }
            Retry::Unprocessed => Verdict::Stop,
            Retry::IfIdempotent if wanted && self.repeatable => self.again(),
            Retry::IfIdempotent => Verdict::Stop,
            Retry::IfReused if self.repeatable && self.stale == 0 => {
                self.stale += 1;
                Verdict::AgainFresh
            }
            Retry::IfReused => Verdict::Stop,
        }
    }

    /// After an answer with that status.
    pub(crate) fn after_status(&self, status: u16) -> Verdict {
        let wanted = self.policy.on.iter().any(|on| match on {
            RetryOn::GatewayError => matches!(status, 502..=504),
            RetryOn::ServerError => status >= 500,
            RetryOn::ConnectFailure
            | RetryOn::Reset
            | RetryOn::Cancelled
            | RetryOn::DeadlineExceeded
            | RetryOn::Internal
            | RetryOn::ResourceExhausted
            | RetryOn::Unavailable => false,
        });
        if wanted && self.repeatable {
            self.again()
        } else {
            Verdict::Stop
        }
    }

    /// After a call of gRPC that ended with that status before any message. All calls are POSTs, so that the method says nothing:
    /// who lists a status says that it may be tried again.
    pub(crate) fn after_grpc(&self, status: Status) -> Verdict {
        let on = match status {
            Status::Cancelled => RetryOn::Cancelled,
            Status::DeadlineExceeded => RetryOn::DeadlineExceeded,
            Status::Internal => RetryOn::Internal,
            Status::ResourceExhausted => RetryOn::ResourceExhausted,
            Status::Unavailable => RetryOn::Unavailable,
            Status::Ok
            | Status::Unknown
            | Status::InvalidArgument
            | Status::NotFound
            | Status::AlreadyExists
            | Status::PermissionDenied
            | Status::FailedPrecondition
            | Status::Aborted
            | Status::OutOfRange
            | Status::Unimplemented
            | Status::DataLoss
            | Status::Unauthenticated => return Verdict::Stop,
        };
        if self.policy.on.contains(&on) {
            self.again()
        } else {
            Verdict::Stop
        }
    }

    fn again(&self) -> Verdict {
        if self.made.saturating_sub(self.stale + self.unprocessed) > self.policy.retries {
            Verdict::Exhausted
        } else {
            Verdict::Again
        }
    }

    /// How long to wait before the next try: a random part of the base, which doubles with each try up to tenfold.
    pub(crate) fn back_off(&self, rng: &Rng) -> Duration {
        let doubled = self
            .policy
            .back_off
            .saturating_mul(1 << self.made.saturating_sub(1).min(4));
        let bound = doubled.min(self.policy.back_off.saturating_mul(10));
        Duration::from_micros(rng.below(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(
        policy: &Policy,
        method: &Method,
        made: u32,
        kind: FaultKind,
        retry: Retry,
    ) -> Verdict {
        let mut tries = Tries::new(policy, method);
        tries.made = made;
        tries.after_fault(&Fault::new(kind).retry(retry))
    }

    #[test]
    fn a_post_is_sent_again_only_if_nothing_of_it_was_sent() {
        let policy = Policy::default();
        assert_eq!(
            after(
                &policy,
                &Method::Post,
                1,
                FaultKind::ConnectRefused,
                Retry::Safe
            ),
            Verdict::Again
        );
        assert_eq!(
            after(
                &policy,
                &Method::Post,
                1,
                FaultKind::Reset,
                Retry::IfIdempotent
            ),
            Verdict::Stop
        );
        assert_eq!(
            after(&policy, &Method::Post, 1, FaultKind::Reset, Retry::IfReused),
            Verdict::Stop
        );
        assert_eq!(
            after(
                &policy,
                &Method::Get,
                1,
                FaultKind::Reset,
                Retry::IfIdempotent
            ),
            Verdict::Again
        );
        let policy = Policy {
            non_idempotent: true,
            ..Policy::default()
        };
        assert_eq!(
            after(
                &policy,
                &Method::Post,
                1,
                FaultKind::Reset,
                Retry::IfIdempotent
            ),
            Verdict::Again
        );
    }

    #[test]
    fn tries_are_counted_and_stale_connections_are_not() {
        let policy = Policy {
            retries: 0,
            ..Policy::default()
        };
        assert_eq!(
            after(
                &policy,
                &Method::Get,
                1,
                FaultKind::ConnectRefused,
                Retry::Safe
            ),
            Verdict::Exhausted
        );
        let mut tries = Tries::new(&policy, &Method::Get);
        tries.made = 1;
        let stale = Fault::new(FaultKind::Reset).retry(Retry::IfReused);
        assert_eq!(tries.after_fault(&stale), Verdict::AgainFresh);
        tries.made = 2;
        assert_eq!(tries.after_fault(&stale), Verdict::Stop);
        assert_eq!(
            tries.after_fault(&Fault::new(FaultKind::Reset).retry(Retry::IfIdempotent)),
            Verdict::Exhausted
        );
    }

    #[test]
    fn statuses_are_tried_again_as_asked() {
        let policy = Policy {
            on: vec![RetryOn::GatewayError],
            ..Policy::default()
        };
        let mut tries = Tries::new(&policy, &Method::Get);
        tries.made = 1;
        assert_eq!(tries.after_status(503), Verdict::Again);
        assert_eq!(tries.after_status(500), Verdict::Stop);
        tries.made = 2;
        assert_eq!(tries.after_status(502), Verdict::Exhausted);
    }

    #[test]
    fn the_back_off_doubles_to_tenfold() {
        let policy = Policy {
            back_off: Duration::from_millis(10),
            ..Policy::default()
        };
        let rng = Rng::new(5);
        for (made, bound) in [(1, 10), (2, 20), (4, 80), (5, 100), (90, 100)] {
            let mut tries = Tries::new(&policy, &Method::Get);
            tries.made = made;
            let longest = (0..2000)
                .map(|_| tries.back_off(&rng))
                .max()
                .unwrap_or_default();
            assert!(
                longest <= Duration::from_millis(bound)
                    && longest > Duration::from_millis(bound * 9 / 10),
                "{made}: {longest:?}"
            );
        }
    }
}
