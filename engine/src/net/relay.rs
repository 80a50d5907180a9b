//! One direction of a connection that is passed on: what one end says, the other is told, to the end of the stream.
//!
//! While bytes come, a read is in flight with a buffer; a direction that is quiet gives its buffer back and waits for
//! readiness alone. A direction that proves large, between two bare sockets, goes through a pipe in the kernel
//! ([`splice`](super::splice)) for as long as it stays large.

use std::io;
use std::time::Duration;

use super::splice::{self, Pipes, Spliced};
use super::{Reader, Writer, give_way};
use crate::time::{Deadline, Timer};

/// What a read makes room for at first: most messages fit.
const ROOM: usize = 16 << 10;
/// What it makes room for once one filled that: less costs more for each byte, and more gains nothing.
const BULK_ROOM: usize = 64 << 10;
/// How long bytes are waited for with a buffer in hand: an end that goes on at once need not wait for one to be found.
const QUIET_AFTER: Duration = Duration::from_millis(16);
/// A read of this much speaks for a pipe, whose calls cost a little more than a copy of a KiB, and half of one of 64.
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

/// Passes on all that `from` brings and then its end. `moved` hears of each part that went. When it fails, or is dropped,
/// the other end may have got a part: it must be reset, so that it does not take that for the whole.
pub(crate) async fn relay(
    from: &mut Reader,
    to: &mut Writer,
    pipes: &Pipes,
    moved: &dyn Fn(usize),
) -> Result<(), Broken> {
    let timer = Timer::new();
    let mut room = ROOM;
    let (mut large, mut turn) = (0, 0);
    let mut may_splice = true;
    loop {
        if from.input.is_empty() {
            let soon = Deadline::after(QUIET_AFTER);
            let read = match timer.within(soon, from.fill_retractably(room)).await {
                Ok(read) => read,
                Err(_elapsed) => {
                    room = ROOM;
                    quiet(from).await
                }
            };
            if read.map_err(Broken::Reading)? == 0 {
                to.finish();
                return Ok(());
            }
        }
        let bytes = from.input.split();
        let read = bytes.len();
        to.write_all(bytes, moved).await.map_err(Broken::Writing)?;
        turn += 1;
        if turn == TURN {
            turn = 0;
            give_way().await;
        }
        if read >= room {
            room = BULK_ROOM;
        }
        large = if read >= LARGE { large + read } else { 0 };
        if large >= PROVEN && may_splice {
            large = 0;
            match splice::splice(from, to, pipes, &timer, moved).await? {
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
