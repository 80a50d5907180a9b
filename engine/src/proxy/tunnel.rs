//! Bytes both ways, after an upgrade: each direction ends by itself, and silence in both ends the tunnel.

use std::cell::Cell;
use std::time::Duration;

use bytes::BytesMut;

use crate::net::{Reader, Writer};
use crate::time::{Deadline, Timer, both, now_millis};

/// What a tunnel's read makes room for.
const READ: usize = 16 << 10;

/// Bytes moved, by direction.
#[derive(Default)]
pub(crate) struct Moved {
    pub(crate) up: Cell<u64>,
    pub(crate) down: Cell<u64>,
    /// When something last moved.
    last: Cell<u64>,
}

/// Copies until both directions have ended, one broke, or nothing moved for `idle`. Says whether it ended in order.
pub(crate) async fn tunnel(
    client: (&mut Reader, &mut Writer),
    upstream: (&mut Reader, &mut Writer),
    idle: Duration,
    timer: &Timer,
    moved: &Moved,
) -> bool {
    let up = copy(client.0, upstream.1, &moved.up, &moved.last);
    let down = copy(upstream.0, client.1, &moved.down, &moved.last);
    let mut copying = std::pin::pin!(both(up, down));
    moved.last.set(now_millis());
    loop {
        let before = moved.last.get();
        let quiet = Duration::from_millis(now_millis().saturating_sub(before));
        let deadline = Deadline::after(idle.saturating_sub(quiet));
        match timer.within(deadline, copying.as_mut()).await {
            Ok((up, down)) => return up.is_ok() && down.is_ok(),
            Err(_elapsed) if moved.last.get() == before => return false,
            Err(_elapsed) => {}
        }
    }
}

async fn copy(
    from: &mut Reader,
    to: &mut Writer,
    moved: &Cell<u64>,
    last: &Cell<u64>,
) -> std::io::Result<()> {
    let mut buffer = std::mem::take(&mut from.input);
    loop {
        if !buffer.is_empty() {
            let count = |bytes: usize| {
                moved.set(moved.get() + bytes as u64);
                last.set(now_millis());
            };
            to.write_all(std::mem::replace(&mut buffer, BytesMut::new()), count)
                .await?;
        }
        if from.fill(READ).await? == 0 {
            // The other direction may go on (RFC 6455 §7.1.1: each side closes its own).
            to.finish();
            return Ok(());
        }
        buffer = from.input.split();
    }
}
