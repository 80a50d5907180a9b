//! Who was woken: the wakers of requests that wait.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The requests that were woken, by number.
#[derive(Default)]
pub(super) struct Wakes(Arc<Mutex<Vec<u64>>>);

struct Note {
    request: u64,
    all: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(self.request);
    }
}

impl Wakes {
    pub(super) fn waker(&self, request: u64) -> Waker {
        let all = Arc::clone(&self.0);
        Waker::from(Arc::new(Note { request, all }))
    }

    /// Those woken since this was last asked.
    pub(super) fn take(&self) -> Vec<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}
