//! Whether a request may be sent again, and when.

use std::time::{Duration, SystemTime};

use ringway_config::{Retry as Policy, RetryOn, WaitValue};
use ringway_protocols::Fields;
use ringway_protocols::message::{Method, ResponseHead};

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
        let wanted = self.is_wanted(fault);
        match fault.retry {
            // What was not begun is picked anew before anybody asks.
            Retry::Never | Retry::NotBegun => Verdict::Stop,
            Retry::Safe if wanted => self.again(),
            Retry::Safe => Verdict::Stop,
            Retry::Unprocessed if self.unprocessed < UNPROCESSED_MAX => {
                self.unprocessed += 1;
                Verdict::AgainFresh
            }
            // That host takes none of it: where the policy says so, another may.
            Retry::Unprocessed if wanted => self.again(),
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

    /// Whether the policy asks for another try after it.
    fn is_wanted(&self, fault: &Fault) -> bool {
        let on = |wanted: &[RetryOn]| self.policy.on.iter().any(|on| wanted.contains(on));
        match fault.kind {
            FaultKind::ConnectRefused
            | FaultKind::ConnectTimeout
            | FaultKind::ConnectFailed
            | FaultKind::TlsFailed
            | FaultKind::TlsTimeout => on(&[RetryOn::ConnectFailure]),
            FaultKind::Reset => match fault.retry {
                Retry::Unprocessed => on(&[
                    RetryOn::Reset,
                    RetryOn::ResetBeforeRequest,
                    RetryOn::RefusedStream,
                ]),
                Retry::Safe => on(&[RetryOn::Reset, RetryOn::ResetBeforeRequest]),
                Retry::IfIdempotent | Retry::IfReused | Retry::NotBegun | Retry::Never => {
                    on(&[RetryOn::Reset])
                }
            },
            FaultKind::FirstByteTimeout
            | FaultKind::PerTryTimeout
            | FaultKind::PerTryIdleTimeout => on(&[RetryOn::Reset]),
            FaultKind::NoRoute
            | FaultKind::NoHost
            | FaultKind::UpstreamProtocol
            | FaultKind::NoTunnel
            | FaultKind::Truncated
            | FaultKind::BodyProtocol
            | FaultKind::RequestTimeout
            | FaultKind::IdleTimeout
            | FaultKind::ClientGone
            | FaultKind::ClientProtocol
            | FaultKind::ClientTooSlow
            | FaultKind::BodyTooLarge
            | FaultKind::Overflow
            | FaultKind::Internal => false,
        }
    }

    /// After an answer with that head.
    pub(crate) fn after_answer(&self, head: &ResponseHead) -> Verdict {
        let status = head.status;
        let wanted = self.policy.on.iter().any(|on| match on {
            RetryOn::GatewayError => matches!(status, 502..=504),
            RetryOn::ServerError => status >= 500,
            RetryOn::Retriable4xx => status == 409,
            RetryOn::StatusCodes => self.policy.status_codes.contains(&status),
            RetryOn::Headers => {
                let mut names = self.policy.headers.iter();
                names.any(|name| head.fields.get(name.as_bytes()).is_some())
            }
            RetryOn::ConnectFailure
            | RetryOn::Reset
            | RetryOn::ResetBeforeRequest
            | RetryOn::RefusedStream
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

    /// How long an answer asks to wait, with a random part of a half of it more, so that not all come back at once.
    pub(crate) fn asked_wait(
        &self,
        fields: &Fields,
        now: SystemTime,
        rng: &Rng,
    ) -> Option<Duration> {
        let said = self.policy.wait_headers.iter().find_map(|header| {
            let value = fields.get(header.name.as_bytes())?;
            let seconds: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
            match header.is {
                WaitValue::Seconds => Some(Duration::from_secs(seconds)),
                WaitValue::UnixTime => {
                    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
                    then.duration_since(now).ok()
                }
            }
        });
        let wait = said.filter(|wait| *wait <= self.policy.wait_max)?;
        let half = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX);
        Some(wait + Duration::from_micros(rng.below(half)))
    }

    fn again(&self) -> Verdict {
        if self.made.saturating_sub(self.stale + self.unprocessed) > self.policy.retries {
            Verdict::Exhausted
        } else {
            Verdict::Again
        }
    }

    /// How long to wait before the next try: a random part of the base, which doubles with each try up to its bound.
    pub(crate) fn back_off(&self, rng: &Rng) -> Duration {
        let doubled = self
            .policy
            .back_off
            .saturating_mul(1 << self.made.saturating_sub(1).min(20));
        let most = self.policy.back_off_max;
        let bound = doubled.min(most.unwrap_or(self.policy.back_off.saturating_mul(10)));
        Duration::from_micros(rng.below(u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests;
