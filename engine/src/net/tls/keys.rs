//! The secrets of sessions, for who reads a recording of their connections: only where the configuration asks for them.
//!
//! rustls tells them in the middle of a handshake, where nothing may wait. They are kept until the core's next tick, and go to
//! their file as lines of access logs do.

use std::cell::RefCell;
use std::fmt::Write as _;

use rustls::KeyLog;

use crate::observe::log_ring::TargetId;

/// Lines that are kept between two ticks, ten a second: those of 3,000 handshakes, more than a core makes in a tenth of a second.
const LINES_MAX: usize = 15_000;

thread_local! {
    static LINES: RefCell<Lines> = const { RefCell::new(Lines { kept: Vec::new(), lost: 0 }) };
}

struct Lines {
    kept: Vec<(TargetId, String)>,
    lost: u64,
}

/// Where a side's secrets go.
#[derive(Debug)]
pub(super) struct Keys(pub(super) TargetId);

impl KeyLog for Keys {
    /// A line of NSS's format: label, the client's random, the secret.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line =
            String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 2);
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                // Writing to a String cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        LINES.with_borrow_mut(|lines| {
            if lines.kept.len() < LINES_MAX {
                lines.kept.push((self.0, line));
            } else {
                lines.lost += 1;
            }
        });
    }
}

/// What handshakes of this thread have left since the last time, and how many lines there was no room for.
pub(crate) fn take_keys() -> (Vec<(TargetId, String)>, u64) {
    LINES.with_borrow_mut(|lines| {
        (
            std::mem::take(&mut lines.kept),
            std::mem::take(&mut lines.lost),
        )
    })
}
