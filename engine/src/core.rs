//! A core's main loop: wake, take the newest snapshot, open and close listeners.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::cluster::{ClusterSets, ClusterSpec};
use crate::net::{Acceptor, Alarm, Doorbell, Spare, spawn, tls};
use crate::serve::{Gate, accept};
use crate::snapshot::Snapshot;
use crate::time;
use crate::view::{ListenerId, Local, OpenGate};

/// How often access log lines are handed on.
const FLUSH: Duration = Duration::from_millis(100);
/// How long connections that were reset may take to say what became of them. They are woken at once; a core that is so busy that
/// they do not come to it is not waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How many flushes lie between two looks at the pools.
const FLUSHES_PER_SWEEP: u32 = 10;

/// What control tells a core.
pub(crate) enum Command {
    /// Runs this snapshot from now on.
    Apply {
        snapshot: Arc<Snapshot>,
        /// The sockets' numbers, one for each listener of the snapshot.
        ids: Arc<[ListenerId]>,
        /// Sockets that are new.
        opened: Vec<Opened>,
    },
    /// The health of a cluster's hosts has changed.
    Refresh {
        /// The cluster, in the version that this is of.
        spec: Arc<ClusterSpec>,
        /// What is chosen among from now on.
        sets: Arc<ClusterSets>,
        /// When the first of the hosts changed.
        since: Instant,
    },
    /// Answers say `Connection: close` from now on.
    Drain,
    /// Accepts no more and ends what is between requests.
    Close,
    /// Cuts what is left and ends.
    Stop,
    /// Fails, as a defect of the loop would make it.
    #[cfg(test)]
    Fail,
}

/// A listening socket for a core.
pub(crate) struct Opened {
    pub(crate) id: ListenerId,
    pub(crate) fd: OwnedFd,
    /// Through which control may have it back while it closes.
    pub(crate) spare: Arc<Spare>,
    pub(crate) open: OpenGate,
}

/// What a core is made of.
pub(crate) struct Core {
    pub(crate) local: Rc<Local>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) doorbell: Doorbell,
    /// The version of the snapshot that runs.
    pub(crate) applied: Arc<AtomicU64>,
}

impl Core {
    /// Runs until told to stop.
    pub(crate) async fn run(self) -> std::io::Result<()> {
        let doorbell = self.doorbell.open()?;
        let alarm = Alarm::new()?;
        spawn(turn_wheel(alarm));
        spawn(tick(Rc::clone(&self.local)));
        let mut gates = HashMap::new();
        loop {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Apply {
                        snapshot,
                        ids,
                        opened,
                    } => {
                        apply(&self.local, &snapshot, &ids, opened, &mut gates);
                        self.applied.store(snapshot.version(), Ordering::Release);
                    }
                    Command::Refresh { spec, sets, since } => {
                        self.local.view().refresh(&spec, &sets);
                        self.local.stats.health_told.record(since.elapsed());
                    }
                    Command::Drain => self.local.draining.set(true),
                    Command::Close => {
                        let view = self.local.view();
                        gates
                            .drain()
                            .for_each(|(id, gate): (ListenerId, Rc<Gate>)| {
                                gate.close(view.listener_of(id));
                            });
                        self.local.close();
                    }
                    Command::Stop => {
                        self.local.connections.reset_all();
                        last_words(&self.local).await;
                        hand_on(&self.local);
                        return Ok(());
                    }
                    #[cfg(test)]
                    Command::Fail => unreachable!("as the test wants"),
                }
            }
            self.local.view().serve();
            doorbell.rung().await?;
        }
    }
}

/// Takes a snapshot over: a new view, new listeners opened, the gates of gone ones closed.
fn apply(
    local: &Rc<Local>,
    snapshot: &Snapshot,
    ids: &[ListenerId],
    opened: Vec<Opened>,
    gates: &mut HashMap<ListenerId, Rc<Gate>>,
) {
    let old = local.view();
    let view = old.next(snapshot, ids, local.core, &local.rng);
    local.replace_view(view);
    local.stats.snapshots_applied.inc();
    for Opened {
        id,
        fd,
        spare,
        open,
    } in opened
    {
        match Acceptor::new(fd) {
            Ok(acceptor) => {
                let gate = Rc::new(Gate::default());
                gates.insert(id, Rc::clone(&gate));
                let accepting = accept(Rc::clone(local), id, acceptor, gate, spare);
                spawn(async move {
                    accepting.await;
                    drop(open);
                });
            }
            Err(error) => {
                // Nobody would accept from it.
                drop(spare.take());
                tracing::error!(%error, core = local.core, "a listening socket cannot be taken into the driver");
            }
        }
    }
    let gone: Vec<ListenerId> = gates
        .keys()
        .filter(|id| !ids.contains(id))
        .copied()
        .collect();
    for id in gone {
        if let Some(gate) = gates.remove(&id) {
            gate.close(old.listener_of(id));
        }
    }
}

/// Turns the core's wheel of deadlines. It sleeps until the next one, or until an earlier one is set.
async fn turn_wheel(alarm: Alarm) {
    loop {
        let sleep = std::future::poll_fn(|cx| Poll::Ready(time::turn(cx))).await;
        alarm.set(sleep);
        let mut rung = std::pin::pin!(alarm.rung());
        let mut woken = false;
        std::future::poll_fn(|cx| {
            // Polled again without the alarm: an earlier deadline woke this task.
            if std::mem::replace(&mut woken, true) || rung.as_mut().poll(cx).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Hands on what is to be written: access log lines, and the secrets of sessions where they are asked for.
fn hand_on(local: &Local) {
    let (keys, lost) = tls::take_keys();
    for (target, line) in keys {
        local
            .logs
            .line(target, |out| out.extend_from_slice(line.as_bytes()));
    }
    local.stats.access_log_dropped.add(lost);
    local.logs.flush();
}

/// Connections that were reset end by themselves, each with its line in the access log and with a reset of its upstream's.
async fn last_words(local: &Local) {
    let ended = std::future::poll_fn(|cx| {
        if local.connections.is_empty() {
            return Poll::Ready(());
        }
        local.wait_for_end(cx.waker());
        Poll::Pending
    });
    let timer = time::Timer::new();
    let _elapsed = timer.within(time::Deadline::after(LAST_WORDS), ended).await;
}

/// What a core does now and then: hand on access log lines, look after its pools.
async fn tick(local: Rc<Local>) {
    let timer = time::Timer::new();
    let mut flushes = 0;
    loop {
        let slept = Instant::now();
        timer.sleep_until(time::Deadline::after(FLUSH)).await;
        let late = slept.elapsed().saturating_sub(FLUSH + 2 * time::TICK);
        local.stats.loop_time.record(late);
        hand_on(&local);
        local.end_leaving();
        flushes += 1;
        if flushes == FLUSHES_PER_SWEEP {
            flushes = 0;
            local.view().sweep();
        }
    }
}
