//! What the codec's errors mean for a request.

use h2::Reason;
use ringway_protocols::http1::Violation;

use super::session::Session;
use crate::fault::{Fault, FaultKind, Retry};

/// How far a stream had come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The answer's head is not here. `reused`: other requests went over the connection before.
    Head { reused: bool },
    /// It is.
    Body,
}

/// A fault, counted.
#[cold]
pub(super) fn fault(error: h2::Error, stage: Stage, session: &Session) -> Fault {
    if error.is_library() {
        // Frames that break the protocol: of this stream, or of the whole connection.
        session
            .cluster
            .protocol_error
            .inc(violation(&error).index());
        return match stage {
            Stage::Head { .. } => Fault::new(FaultKind::UpstreamProtocol).because(error),
            Stage::Body => cut(FaultKind::BodyProtocol, error, session),
        };
    }
    let Stage::Head { reused } = stage else {
        return cut(FaultKind::Truncated, error, session);
    };
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if refused {
        session.refused();
        session.cluster.upstream_rq_refused.inc();
    }
    // RFC 9113 §8.7: a stream above the last of a GOAWAY, or refused, was not processed.
    let retry = if refused || error.is_go_away() {
        Retry::Unprocessed
    } else if error.is_reset() || !reused {
        Retry::IfIdempotent
    } else {
        // The connection ended under it, perhaps before it was read there.
        Retry::IfReused
    };
    Fault::new(FaultKind::Reset).retry(retry).because(error)
}

fn cut(kind: FaultKind, error: h2::Error, session: &Session) -> Fault {
    session.cluster.body_truncated.inc();
    Fault::new(kind).because(error)
}

#[cold]
fn violation(error: &h2::Error) -> Violation {
    if error.is_reset() {
        Violation::Http2Message
    } else {
        Violation::Http2Connection
    }
}

/// A rule that we keep ourselves was broken before the head was here.
#[cold]
pub(super) fn broken(rule: Violation, session: &Session) -> Fault {
    session.cluster.protocol_error.inc(rule.index());
    Fault::new(FaultKind::UpstreamProtocol).because(rule.name())
}
