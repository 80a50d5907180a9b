//! One run: what happens when. What becomes of requests is in `tries`, what they take of limits in `limits`, and what must be
//! when all is over in `end`.

mod end;
mod limits;
mod slow;
mod tries;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::Cluster;
use ringway_engine::rng::Rng;
use ringway_engine::{HostSpec, News, Rehearsal, Request};

use super::mood::Mood;
use super::oracle::{Rules, Told, Wish, port};
use super::plan::{ADDRESSES, CLIENTS, Plan};
use super::sum::Sum;
use super::wakes::Wakes;
use super::watch::{Came, Watch};
use super::{Wrong, millis};
use crate::health::track::Answer;
use crate::outlier::Cause;

/// Hosts fail, come and go for so long.
const WILD: Duration = Duration::from_millis(1_500);
/// Then everybody is well; so long after it nobody may be out any more.
const CALM: Duration = Duration::from_millis(2_000);
/// A change reaches all cores within it, from when control tells it.
const TOLD: u64 = 48;
/// A core that is rung looks within it.
const RUNG: u64 = 8;

enum Event {
    Arrive,
    /// Of a request.
    Ended(u64, Option<u16>),
    Again(u64),
    /// Of a request's wait, by the request's number and that of its try.
    GaveUp(u64, usize),
    /// Of a core.
    Rung(usize),
    /// Of the host at a port.
    Mood(u16),
    /// Of a host, by id.
    Probe(u64),
    Probed(u64, Answer),
    Interval,
    Back,
    Tell,
    Hear(usize),
    Change,
}

/// A request under way.
struct Asking {
    request: Request,
    /// The core that it is on.
    core: usize,
    /// Whose it is, and what it asks by.
    client: usize,
    wish: Wish,
    /// The ids of the hosts that were tried.
    tried: Vec<u64>,
    place: At,
    since: Duration,
}

/// Where a request is.
enum At {
    Nowhere,
    /// Waiting for a connection to a host.
    Before(Arc<HostSpec>),
    Host(Arc<HostSpec>),
}

/// News for a core, and what it makes of the hosts.
struct Letter {
    news: News,
    told: Rc<Told>,
}

struct CoreSide {
    /// What it knows of the hosts.
    told: Rc<Told>,
    letters: VecDeque<Letter>,
    /// When the last of them arrives.
    last: Duration,
}

pub(super) struct World {
    rng: Rng,
    plan: Plan,
    config: Cluster,
    rules: Rc<Rules>,
    now: Duration,
    number: u64,
    queue: BTreeMap<(Duration, u64), Event>,
    rehearsal: Rehearsal,
    cores: Vec<CoreSide>,
    watch: Watch,
    moods: Vec<Mood>,
    /// When the next host comes back.
    back_at: Option<Duration>,
    asking: BTreeMap<u64, Asking>,
    /// The ports that clients' cookies name.
    cookies: [Option<u16>; CLIENTS as usize],
    wakes: Wakes,
    /// Since when somebody waits though there might be room.
    idle_since: Option<Duration>,
    /// The tokens of the retry budget, in ten thousandths.
    tokens: u64,
    sum: Sum,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let plan = Plan::new(&rng);
        let config = plan.cluster(&rng);
        let rehearsal = Rehearsal::new(config.clone(), plan.cores, seed);
        let rules = Rc::new(Rules::of(&config));
        let told = Rc::new(Told::of(&rehearsal.spec().hosts, &rules));
        let core = |_| CoreSide {
            told: Rc::clone(&told),
            letters: VecDeque::new(),
            last: Duration::ZERO,
        };
        let mut world = Self {
            cores: (0..plan.cores).map(core).collect(),
            now: Duration::ZERO,
            number: 0,
            queue: BTreeMap::new(),
            watch: Watch::default(),
            moods: vec![Mood::Well; usize::from(ADDRESSES) + 1],
            back_at: None,
            asking: BTreeMap::new(),
            cookies: Default::default(),
            wakes: Wakes::default(),
            idle_since: None,
            tokens: limits::FIRST,
            sum: Sum::default(),
            rng,
            plan,
            rules,
            config,
            rehearsal,
        };
        world.follow();
        world.after(Duration::ZERO, Event::Arrive);
        for port in 1..=ADDRESSES {
            let wait = world.chance(400);
            world.after(wait, Event::Mood(port));
        }
        let wait = world.chance(1_000);
        world.after(wait, Event::Change);
        if let Some(outlier) = &world.config.outlier {
            world.after(outlier.interval, Event::Interval);
        }
        world
    }

    fn chance(&self, most: u64) -> Duration {
        millis(self.rng.below(most + 1))
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.number += 1;
        self.queue.insert((self.now + wait, self.number), event);
    }

    /// All of it.
    pub(super) fn run(mut self) -> Result<Sum, Wrong> {
        while let Some(((now, _), event)) = self.queue.pop_first() {
            self.now = now;
            self.rehearsal.at(now);
            let stepped = self.step(event).and_then(|()| self.settle());
            stepped.map_err(|wrong| self.said(&wrong))?;
        }
        self.end().map_err(|wrong| self.said(&wrong))?;
        Ok(self.sum)
    }

    fn said(&self, wrong: &str) -> Wrong {
        let (plan, config) = (&self.plan, &self.config);
        format!("at {:?}: {wrong}\n{plan:?}\n{config:?}", self.now)
    }

    fn is_calm(&self) -> bool {
        self.now >= WILD
    }

    fn is_over(&self) -> bool {
        self.now >= WILD + CALM
    }

    fn step(&mut self, event: Event) -> Result<(), Wrong> {
        match event {
            Event::Arrive => self.arrive()?,
            Event::Ended(id, status) => self.ended(id, status)?,
            Event::Again(id) => self.attempt(id)?,
            Event::GaveUp(id, tries) => self.gave_up(id, tries),
            Event::Rung(core) => self.rehearsal.serve(core),
            Event::Mood(port) => self.change_mood(port),
            Event::Probe(id) => self.probe(id),
            Event::Probed(id, answer) => {
                let next = self.watch.probed(id, &answer, &self.config, &self.rng);
                if let Some((marked, wait)) = next {
                    self.sum.marked += u64::from(marked);
                    self.gather();
                    if !self.is_over() {
                        self.after(wait, Event::Probe(id));
                    }
                }
            }
            Event::Interval => {
                for (id, cause) in self.watch.interval(&self.config) {
                    self.decide(id, cause)?;
                }
                let outlier = self.config.outlier.as_ref();
                let interval = outlier.map(|outlier| outlier.interval);
                if let Some(interval) = interval.filter(|_| !self.is_over()) {
                    self.after(interval, Event::Interval);
                }
            }
            Event::Back => {
                self.back_at = None;
                self.watch.back(self.now)?;
                self.wait_for_back();
                self.gather();
            }
            Event::Tell => self.tell(),
            Event::Hear(core) => self.hear(core),
            Event::Change => {
                if !self.is_calm() {
                    // Now and then nobody is left.
                    let least = self.rng.below(8).min(1);
                    let endpoints = self.plan.endpoints(&self.rng, least);
                    self.publish(endpoints);
                    let wait = self.chance(800);
                    self.after(wait, Event::Change);
                }
            }
        }
        Ok(())
    }

    fn decide(&mut self, id: u64, cause: Cause) -> Result<(), Wrong> {
        let came = self
            .watch
            .decide(id, cause, self.now, &self.config, &self.rng)?;
        self.sum.ejected += u64::from(came == Came::Ejected);
        self.sum.spared += u64::from(came == Came::Spared);
        self.wait_for_back();
        self.gather();
        Ok(())
    }

    fn wait_for_back(&mut self) {
        let next = self.watch.next_back();
        if let Some(back) = next.filter(|back| self.back_at.is_none_or(|at| *back < at)) {
            self.back_at = Some(back);
            self.after(back.saturating_sub(self.now), Event::Back);
        }
    }

    fn mood(&self, host: &HostSpec) -> Mood {
        self.moods[usize::from(port(host))]
    }

    fn change_mood(&mut self, port: u16) {
        let calm = self.is_calm();
        self.moods[usize::from(port)] = match calm {
            true => Mood::Well,
            false => Mood::by_chance(&self.rng),
        };
        if !calm {
            let wait = (millis(80) + self.chance(800)).min(WILD.saturating_sub(self.now));
            self.after(wait, Event::Mood(port));
        }
    }

    fn probe(&mut self, id: u64) {
        let (Some(host), Some(check)) = (self.watch.host(id), &self.config.health_check) else {
            return;
        };
        let (answer, after) = self.mood(&host).probed(self.now, check.timeout, &self.rng);
        self.after(after, Event::Probed(id, answer));
    }

    /// Marks may have changed: they are told together, soon.
    fn gather(&mut self) {
        if !self.watch.dirty.is_empty() {
            self.after(millis(2), Event::Tell);
        }
    }

    fn tell(&mut self) {
        let dirty = std::mem::take(&mut self.watch.dirty);
        let hosts = &self.rehearsal.spec().hosts;
        let there = dirty.iter().filter(|(slot, id)| hosts.has(*slot, *id));
        let slots: Vec<u32> = there.map(|(slot, _)| *slot).collect();
        if !slots.is_empty() {
            let news = self.rehearsal.derive(&slots);
            self.send(&news);
        }
    }

    fn publish(&mut self, endpoints: Vec<ringway_config::Endpoint>) {
        let news = self.rehearsal.replace(endpoints);
        self.follow();
        self.send(&news);
    }

    /// New hosts are probed.
    fn follow(&mut self) {
        for id in self.watch.follow(&self.rehearsal.spec().hosts) {
            if let Some(check) = &self.config.health_check {
                let most = check.initial_wait.as_millis() as u64;
                let wait = self.chance(most);
                self.after(wait, Event::Probe(id));
            }
        }
    }

    /// Every core hears in its own time, and in order.
    fn send(&mut self, news: &News) {
        let told = Rc::new(Told::of(&self.rehearsal.spec().hosts, &self.rules));
        for core in 0..self.cores.len() {
            let at = (self.now + self.chance(TOLD)).max(self.cores[core].last);
            let side = &mut self.cores[core];
            side.last = at;
            side.letters.push_back(Letter {
                news: news.clone(),
                told: Rc::clone(&told),
            });
            self.after(at - self.now, Event::Hear(core));
        }
    }

    fn hear(&mut self, core: usize) {
        let Some(letter) = self.cores[core].letters.pop_front() else {
            return;
        };
        self.rehearsal.hear(core, &letter.news);
        self.cores[core].told = letter.told;
    }
}
