//! The `Date` of answers, made once a second (RFC 9110 §5.6.7).

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// The date of the second in which it was last asked for.
#[derive(Default)]
pub(crate) struct Date {
    second: Cell<u64>,
    text: RefCell<Bytes>,
}

impl Date {
    /// The date at `now`.
    pub(crate) fn at(&self, now: SystemTime) -> Bytes {
        let second = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if self.second.replace(second) != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *self.text.borrow_mut() = text.into();
        }
        self.text.borrow().clone()
    }
}
