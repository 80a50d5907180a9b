//! One direction of a connection that is passed on: what one end says, the other is told, to the end of the stream.
//!
//! While bytes come, a read is in flight with a buffer; a direction that is quiet gives its buffer back and waits for
//! readiness alone. A direction that proves large, between two bare sockets, goes through a pipe in the kernel
//! ([`splice`](super::splice)) for as long as it stays large.

use std::io;

use bytes::BytesMut;

use super::splice::{self, Pipes, Spliced};
use super::{QUIET_AFTER, Reader, Writer, give_way};
use crate::time::{Deadline, Timer};

/// What a read makes room for at first: most messages fit.
const ROOM: usize = 16 << 10;
/// What it makes room for once one filled that: less costs more for each byte, and more gains nothing.
const BULK_ROOM: usize = 64 << 10;
/// A read of this much speaks for a pipe, whose calls cost a little more than a copy of a KiB. With a ring an exchange of 16 KiB costs
/// 0.8 of what it does copied, one of 256 KiB 0.5 to 0.7; with epoll one of 16 KiB costs the same either way.
const LARGE: usize = 16 << 10;
/// So many bytes in large reads, one after the other, are a direction that is large.
const PROVEN: usize = 256 << 10;
/// After so many reads others get their turn, were there always something to read. With a ring, every read has that effect.
const TURN: u32 = 16;

/// Which end of a direction failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The one that is read.
    Reading(io::Error),
    /// The one that is written to.
    Writing(io::Error),
}

/// How an end is read whose bytes go on as they come: with a buffer while there are some, without one while there are none.
pub(crate) struct Pull {
    timer: Timer,
    room: usize,
    turn: u32,
}

impl Pull {
    pub(crate) fn new() -> Self {
        Self {
            timer: Timer::new(),
            room: ROOM,
            turn: 0,
        }
    }

    /// The next bytes; `None` at the end of the stream.
    pub(crate) async fn next(&mut self, from: &mut Reader) -> io::Result<Option<BytesMut>> {
        self.turn += 1;
        if self.turn == TURN {
            self.turn = 0;
            give_way().await;
        }
        if from.input.is_empty() {
            let soon = Deadline::after(QUIET_AFTER);
            let read = from.fill_retractably(self.room);
            let read = match self.timer.within(soon, read).await {
                Ok(read) => read?,
                Err(_elapsed) => {
                    self.room = ROOM;
                    quiet(from).await?
                }
            };
            if read == 0 {
                return Ok(None);
            }
        }
        let bytes = from.input.split();
        if bytes.len() >= self.room {
            self.room = BULK_ROOM;
        }
        Ok(Some(bytes))
    }
}

/// Passes on all that `from` brings and then its end. `moved` hears of each part that went. When it fails, or is dropped,
/// the other end may have got a part: it must be reset, so that it does not take that for the whole.
pub(crate) async fn relay(
    from: &mut Reader,
    to: &mut Writer,
    pipes: &Pipes,
    moved: &dyn Fn(usize),
) -> Result<(), Broken> {
    let mut pull = Pull::new();
    let mut large = 0;
    let mut may_splice = true;
    loop {
        let Some(bytes) = pull.next(from).await.map_err(Broken::Reading)? else {
            to.finish();
            return Ok(());
        };
        let read = bytes.len();
        to.write_all(bytes, moved).await.map_err(Broken::Writing)?;
        large = if read >= LARGE { large + read } else { 0 };
        if large >= PROVEN && may_splice {
            large = 0;
            match splice::splice(from, to, pipes, &pull.timer, moved).await? {
                Spliced::Quiet => {}
                Spliced::Impossible => may_splice = false,
            }
        }
    }
}

/// Bytes from an end that is quiet: it has no buffer until there is something to read.
async fn quiet(from: &mut Reader) -> io::Result<usize> {
    match from.retract().await? {
        0 if !from.has_ended() => {}
        read => return Ok(read),
    }
    from.readable().await?;
    from.fill(ROOM).await
}
