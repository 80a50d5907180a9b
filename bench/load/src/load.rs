//! The load generator: a closed loop (each connection asks again when answered) or, with `--rate`, an open one.
//!
//! An open loop asks at fixed times, whatever the answers do, and counts a latency from when the request was due: a
//! proxy that stalls cannot hide it by slowing the generator down with it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::args::Args;
use crate::cpu::Watch;
use crate::error::LoadError;
use crate::exchange::{Exchange, Progress, Script};
use crate::form::{Form, Service, http_request};
use crate::latency::Latencies;
use crate::poller::Poller;

/// An answer that takes longer is an error, and its connection is made anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a closed loop looks at the clock beside the answers.
const TICK: Duration = Duration::from_millis(5);

/// How often connections are looked over: those that broke are made anew, those that hang are given up.
const CHECK: Duration = Duration::from_millis(50);

/// The token of the timer; connections have theirs from zero.
const TIMER: usize = usize::MAX - 1;

/// Room for an answer of 64 KiB in one receive.
const BUFFER: usize = 128 << 10;

/// Runs the load that the options say and prints what it measured as one JSON object.
pub(crate) fn run(args: &Args) -> Result<(), LoadError> {
    let plan = Plan::parse(args)?;
    let mut load = Load::new(&plan)?;
    load.run_until(Instant::now() + plan.warmup)?;
    load.tally = Tally::new();
    let (before, started) = (plan.watch.read(), Instant::now());
    load.run_until(started + plan.measured)?;
    let (after, wall) = (plan.watch.read(), started.elapsed());
    let others = plan.watch.others(before, after, wall);
    let proxy = after.proxy.since(before.proxy);
    let queued = load.queue.len();
    println!("{{{},", load.tally.report());
    println!(
        " \"seconds\":{:.6},\"queued\":{queued},\"others\":{others:.4},\"proxy_nanos\":{},\"proxy_user_ticks\":{},\"proxy_system_ticks\":{}}}",
        wall.as_secs_f64(),
        proxy.run_nanos,
        proxy.user_ticks,
        proxy.system_ticks,
    );
    Ok(())
}

/// What to do.
struct Plan {
    script: Script,
    connections: usize,
    interval: Option<Duration>,
    warmup: Duration,
    measured: Duration,
    watch: Watch,
}

impl Plan {
    fn parse(args: &Args) -> Result<Self, LoadError> {
        let target: SocketAddr = args.need("target")?;
        let close = args.find::<String>("close")?.is_some();
        let form = args.form()?;
        let length = args.need("length")?;
        let mut service = Service::default();
        if let Some(name) = args.find("service")? {
            service.name = name;
        }
        service.group = args.find("group")?;
        let request = match form {
            Form::Http => http_request(target, &args.need::<String>("path")?, close),
            Form::Bolt | Form::Dubbo => {
                let length = u16::try_from(length);
                form.call(
                    &service,
                    length.map_err(|_| LoadError::Usage("a call of up to 64 KiB"))?,
                )
            }
        };
        let rate: Option<f64> = args.find("rate")?;
        Ok(Self {
            script: Script {
                target,
                form,
                request,
                length: form.body_length(length),
                close,
            },
            connections: args.need("connections")?,
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            warmup: args.seconds("warmup")?,
            measured: args.seconds("seconds")?,
            watch: Watch::new(
                args.find("proxy")?,
                args.find("origin")?,
                args.list("cores")?,
            ),
        })
    }
}

/// What was measured.
struct Tally {
    latencies: Latencies,
    errors: u64,
    timeouts: u64,
    connects: u64,
}

impl Tally {
    fn new() -> Self {
        Self {
            latencies: Latencies::new(),
            errors: 0,
            timeouts: 0,
            connects: 0,
        }
    }

    /// The members of a JSON object.
    fn report(&mut self) -> String {
        let [p50, p90, p99, max] = self.latencies.percentiles([0.5, 0.9, 0.99, 1.0]);
        format!(
            "\"requests\":{},\"errors\":{},\"timeouts\":{},\"connects\":{},\"p50_us\":{p50:.1},\"p90_us\":{p90:.1},\"p99_us\":{p99:.1},\"max_us\":{max:.1}",
            self.latencies.len(),
            self.errors,
            self.timeouts,
            self.connects,
        )
    }
}

/// The connections at work.
struct Load<'a> {
    plan: &'a Plan,
    poller: Poller,
    timer: OwnedFd,
    exchanges: Vec<Exchange>,
    /// Connections that stand and have nothing to do (open loop only).
    free: Vec<usize>,
    /// Connections to be made anew at the next check: at once would spin against a proxy that is gone.
    broken: Vec<usize>,
    /// When the requests that found no free connection were due.
    queue: VecDeque<Instant>,
    /// When the next request is due.
    next_due: Instant,
    /// When connections are next looked over for answers that do not come.
    next_check: Instant,
    buffer: Vec<u8>,
    tally: Tally,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan) -> Result<Self, LoadError> {
        let poller = Poller::new()?;
        let timer = timer(plan.interval.unwrap_or(TICK))?;
        let watched = poller.watch_level(&timer, TIMER);
        watched.map_err(LoadError::io("watching the timer"))?;
        let mut load = Self {
            plan,
            poller,
            timer,
            exchanges: (0..plan.connections).map(|_| Exchange::new()).collect(),
            free: Vec::with_capacity(plan.connections),
            broken: Vec::new(),
            queue: VecDeque::new(),
            next_due: Instant::now(),
            next_check: Instant::now(),
            buffer: vec![0; BUFFER],
            tally: Tally::new(),
        };
        for token in 0..plan.connections {
            load.open(token, Instant::now());
        }
        Ok(load)
    }

    fn run_until(&mut self, end: Instant) -> Result<(), LoadError> {
        let mut tokens = Vec::new();
        while Instant::now() < end {
            self.poller.wait(&mut tokens)?;
            for &token in &tokens {
                if token == TIMER {
                    self.tick();
                } else {
                    self.advance(token);
                }
            }
        }
        Ok(())
    }

    /// One connection has something.
    fn advance(&mut self, token: usize) {
        let Some(exchange) = self.exchanges.get_mut(token) else {
            return;
        };
        match exchange.advance(&self.plan.script, &mut self.buffer) {
            Progress::Pending => {}
            Progress::Done(latency) => {
                self.tally.latencies.add(latency);
                self.next(token);
            }
            Progress::DoneEnding(latency) => {
                self.tally.latencies.add(latency);
                // The end of the stream often came with the answer, and is then no edge of its own.
                self.advance(token);
            }
            Progress::Closed => self.reopen(token),
            Progress::Failed => self.fail(token),
        }
    }

    /// A connection stands and is free: the next request, or none before it is due.
    fn next(&mut self, token: usize) {
        let due = match self.plan.interval {
            None => Instant::now(),
            Some(_) => match self.queue.pop_front() {
                Some(due) => due,
                None => return self.free.push(token),
            },
        };
        let Some(exchange) = self.exchanges.get_mut(token) else {
            return;
        };
        if exchange.ask(&self.plan.script, due).is_err() {
            self.fail(token);
        }
    }

    fn reopen(&mut self, token: usize) {
        let due = self.queue.pop_front();
        self.open(token, due.unwrap_or_else(Instant::now));
    }

    fn open(&mut self, token: usize, due: Instant) {
        let Some(exchange) = self.exchanges.get_mut(token) else {
            return;
        };
        self.tally.connects += 1;
        let opened = exchange.open(&self.plan.script, &self.poller, token, due);
        if opened.is_err() {
            self.fail(token);
        }
    }

    fn fail(&mut self, token: usize) {
        self.tally.errors += 1;
        self.broken.push(token);
    }

    /// The timer rang: what is due is asked.
    fn tick(&mut self) {
        let mut count = [0_u8; 8];
        let rung = rustix::io::read(&self.timer, &mut count).is_ok();
        let rings = if rung { u64::from_ne_bytes(count) } else { 0 };
        if let Some(interval) = self.plan.interval {
            for _ in 0..rings {
                self.queue.push_back(self.next_due);
                self.next_due += interval;
            }
            self.drain_queue();
        }
        let now = Instant::now();
        if now >= self.next_check {
            self.next_check = now + CHECK;
            self.check(now);
        }
    }

    fn check(&mut self, now: Instant) {
        for token in 0..self.exchanges.len() {
            let waiting = self.exchanges.get(token).map(|e| e.waiting(now));
            if waiting.is_some_and(|time| time > ANSWER_TIMEOUT) && !self.broken.contains(&token) {
                self.tally.timeouts += 1;
                self.fail(token);
            }
        }
        for token in std::mem::take(&mut self.broken) {
            self.reopen(token);
        }
    }

    fn drain_queue(&mut self) {
        while !self.queue.is_empty() {
            let Some(token) = self.free.pop() else {
                return;
            };
            // A connection that broke while free is made anew elsewhere and only then free again.
            if self.exchanges.get(token).is_some_and(Exchange::is_idle) {
                self.next(token);
            }
        }
    }
}

/// A timer that rings every `interval`.
fn timer(interval: Duration) -> Result<OwnedFd, LoadError> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
        .map_err(LoadError::io("timerfd_create"))?;
    let every = Timespec::try_from(interval)
        .map_err(|_| LoadError::Usage("an option's value is no time"))?;
    let times = Itimerspec {
        it_interval: every,
        it_value: every,
    };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)
        .map_err(LoadError::io("timerfd_settime"))?;
    Ok(timer)
}
