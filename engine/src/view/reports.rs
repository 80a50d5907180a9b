//! What cores tell control between two snapshots: a bounded channel, and a bell that control waits for.

use std::io;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::cluster::Report;
use crate::net::Bell;

/// More hosts than this that turn bad before control gets to hear of it can wait for their next error.
const REPORTS_MAX: usize = 4096;

/// The cores' end.
#[derive(Debug)]
pub(crate) struct Reporter {
    sender: Sender<Report>,
    bell: Bell,
}

/// Control's end.
#[derive(Debug)]
pub struct Reports {
    receiver: Receiver<Report>,
    /// Readable when there is something; its eight bytes are to be read.
    pub bell: OwnedFd,
}

pub(crate) fn reports() -> io::Result<(Reporter, Reports)> {
    let (sender, receiver) = bounded(REPORTS_MAX);
    let (bell, doorbell) = Bell::pair()?;
    let reports = Reports {
        receiver,
        bell: doorbell.into_fd(),
    };
    Ok((Reporter { sender, bell }, reports))
}

impl Reporter {
    /// Tells control. False: it is behind, and this is lost.
    pub(crate) fn tell(&self, report: Report) -> bool {
        let told = self.sender.try_send(report).is_ok();
        self.bell.ring();
        told
    }
}

impl Reports {
    /// The next one that is here.
    pub fn next(&self) -> Option<Report> {
        self.receiver.try_recv().ok()
    }
}
