//! The configuration that serves, and the one way to replace it: read, check, resolve, build, publish.
//!
//! One task owns it and does one thing at a time, so that two reloads cannot meet. What goes wrong at any step leaves the old
//! configuration serving, and is said in the log, in the reply and in a metric.

mod ask;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::{Config, Errors, Parsed, PathError};
use ringway_engine::filter::Registry;
use ringway_engine::observe::Stats;
use ringway_engine::observe::log_ring::LogTargets;
use ringway_engine::rng::Rng;
use ringway_engine::tls::Material;
use ringway_engine::{Inputs, Snapshot};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_local};

use crate::certs;
use crate::diff;
use crate::dns::{Names, News, Resolver};
use crate::files::Source;
use crate::process::{self, Phase, Process};
use crate::renewal::{self, Renewal};
use crate::systemd;
use crate::telemetry::access_log;

pub(crate) use ask::{Ask, Cause, Refusal, Report};

/// What has been read and resolved, ready to be built.
pub(crate) struct Store {
    source: Source,
    registry: Registry,
    parsed: Rc<Parsed>,
    /// The text that was last looked at, good or bad: a watch that sees it again has nothing new.
    seen: String,
    names: Names,
    resolver: Resolver,
    /// Chance in when names are asked for.
    rng: Rng,
    log_targets: LogTargets,
    /// What TLS is made from.
    tls: Renewal,
}

impl Store {
    /// The store of a configuration just read; resolves its names.
    pub(crate) async fn new(
        source: Source,
        seen: String,
        parsed: Parsed,
        registry: Registry,
        log_targets: LogTargets,
    ) -> Self {
        let rng = Rng::new(process::seed());
        let resolver = Resolver::new(&parsed.config.process.dns);
        let mut names = Names::default();
        names.adopt(&parsed.config, Instant::now());
        resolve(&mut names, &resolver, &rng).await;
        let tls = Renewal::new(&parsed.config);
        certs::warn(&parsed, &tls.material.files);
        Self {
            source,
            registry,
            tls,
            parsed: Rc::new(parsed),
            seen,
            names,
            resolver,
            rng,
            log_targets,
        }
    }

    /// The first snapshot.
    pub(crate) fn first(&self, stats: &Arc<Stats>) -> Result<Arc<Snapshot>, Errors> {
        let problems = access_log::unwritable(&self.parsed.config, access_log::check);
        if !problems.is_empty() {
            return Err(self.parsed.spans.errors(problems));
        }
        let inputs = self.inputs(&self.names, &self.tls.material);
        Snapshot::build(&self.parsed.config, &self.registry, &inputs, stats, None)
            .map_err(|errors| self.parsed.spans.errors(errors))
    }

    /// Errors of the first snapshot's listeners, each at its line.
    pub(crate) fn errors(&self, errors: Vec<PathError>) -> Errors {
        self.parsed.spans.errors(errors)
    }

    /// The configuration that serves.
    pub(crate) fn parsed(&self) -> Rc<Parsed> {
        Rc::clone(&self.parsed)
    }

    fn keep_parsed(&mut self, process: &Process, parsed: Parsed) {
        self.parsed = Rc::new(parsed);
        process.parsed.replace(self.parsed());
    }

    fn inputs(&self, names: &Names, tls: &Material) -> Inputs {
        Inputs {
            tls: tls.clone(),
            resolved: names.resolved(),
            services: names.services(),
            log_targets: self.log_targets.clone(),
        }
    }

    /// Serves what is asked for until nobody can ask.
    pub(crate) async fn keep(mut self, process: Rc<Process>, mut asks: mpsc::Receiver<Ask>) {
        self.tls.follow(&self.parsed.config, &process.asks);
        loop {
            let rotation = self.tls.due();
            let due = self
                .names
                .next_due()
                .map_or(rotation, |due| due.min(rotation));
            let ask = match tokio::time::timeout_at(due.into(), asks.recv()).await {
                Ok(ask) => ask,
                Err(_elapsed) => {
                    if Instant::now() >= rotation {
                        let material = self.tls.rotated();
                        self.adopt(&process, material);
                    }
                    self.refresh(&process);
                    continue;
                }
            };
            match ask {
                None => return,
                Some(Ask::Reload { cause, reply }) => {
                    let outcome = self.reload(&process, cause).await;
                    // Who asked may have gone; the log has the outcome.
                    let _gone = reply.map(|reply| reply.send(outcome));
                }
                Some(Ask::Renew) => self.renew(&process),
                Some(Ask::Resolved { question, answer }) => {
                    let now = Instant::now();
                    let news = self.names.answer(&question, answer, now, &self.rng);
                    if news != News::None {
                        self.republish(&process, &question.name, news);
                    }
                }
            }
        }
    }

    /// Begins the lookups that are due; their answers come as asks.
    fn refresh(&mut self, process: &Rc<Process>) {
        for question in self.names.take_due(Instant::now()) {
            let (asks, resolver) = (process.asks.clone(), self.resolver.clone());
            let had = self.names.had(&question);
            spawn_local(async move {
                let answer = resolver.lookup(&question, &had).await;
                let _stopping = asks.send(Ask::Resolved { question, answer }).await;
            });
        }
    }

    /// The same configuration with other addresses.
    fn republish(&self, process: &Process, host: &str, news: News) {
        let last = process.snapshot();
        let inputs = self.inputs(&self.names, &self.tls.material);
        let config = &self.parsed.config;
        let outcome = Snapshot::build(config, &self.registry, &inputs, &process.stats, Some(&last))
            .and_then(|next| process.publish(next));
        match outcome {
            // Some name servers change the order with each answer.
            Ok(()) if news == News::Order => {
                tracing::debug!(host, "the order of addresses changed")
            }
            Ok(()) => tracing::info!(host, "addresses changed"),
            Err(errors) => {
                let errors = self.parsed.spans.errors(errors);
                tracing::error!(host, "the new addresses were not taken over:\n{errors}");
            }
        }
    }

    /// Reads the files of TLS again.
    fn renew(&mut self, process: &Process) {
        let material = self.tls.read(&self.parsed.config);
        if material.files != self.tls.material.files {
            self.adopt(process, material);
        }
    }

    /// Makes TLS from something new, for handshakes from now on; where that is wrong, the parts concerned stay as they are.
    fn adopt(&mut self, process: &Process, mut material: Material) {
        let last = process.snapshot();
        let parsed = self.parsed();
        let config = &parsed.config;
        let counts = &process.stats.process;
        loop {
            let inputs = self.inputs(&self.names, &material);
            let stats = &process.stats;
            let built = Snapshot::build(config, &self.registry, &inputs, stats, Some(&last));
            match built.and_then(|next| process.publish(next)) {
                Ok(()) => break,
                Err(errors) => {
                    counts.tls_renewals_failed.inc();
                    let serving = &self.tls.material.files;
                    let goes_on = renewal::put_back(config, &errors, &mut material.files, serving);
                    let errors = parsed.spans.errors(errors);
                    tracing::error!("these files are refused, the old ones serve on:\n{errors}");
                    if !goes_on || material == self.tls.material {
                        return;
                    }
                }
            }
        }
        counts.tls_renewals_total.inc();
        tracing::info!("certificates, keys and tickets renewed");
        certs::warn(&parsed, &material.files);
        self.tls.material = material;
    }

    async fn reload(&mut self, process: &Rc<Process>, cause: Cause) -> Result<Report, Refusal> {
        systemd::reloading();
        let outcome = self.replace(process, cause).await;
        systemd::ready(&process.status());
        match &outcome {
            Ok(None) => {}
            Ok(Some(report)) if report.changes.is_empty() => {
                process.count_reload();
                tracing::info!(version = report.version, "reloaded: nothing changed");
            }
            Ok(Some(report)) => {
                process.count_reload();
                for change in &report.changes {
                    tracing::info!(version = report.version, "reloaded: {change}");
                }
            }
            Err(refusal) => {
                process.count_refused_reload();
                tracing::error!(
                    "the new configuration is refused, the old one serves on:\n{refusal}"
                );
            }
        }
        outcome.map(|report| {
            report.unwrap_or_else(|| Report {
                version: process.snapshot().version(),
                changes: Vec::new(),
            })
        })
    }

    /// None: there was nothing to look at.
    async fn replace(
        &mut self,
        process: &Process,
        cause: Cause,
    ) -> Result<Option<Report>, Refusal> {
        if process.phase() == Phase::Draining {
            return Err(Refusal::Stopping);
        }
        let text = self.source.read().map_err(Refusal::Load)?;
        if cause == Cause::Watched && text == self.seen {
            return Ok(None);
        }
        self.seen.clone_from(&text);
        let mut parsed = self
            .source
            .parse(&text, &self.registry)
            .map_err(Refusal::Load)?;
        let last = process.snapshot();
        share(&mut parsed.config, last.config());
        let config = &parsed.config;
        let changes = diff::diff(last.config(), config);
        let mut problems = diff::needs_restart(last.config(), config);
        problems.extend(access_log::unwritable(config, access_log::check));
        if !problems.is_empty() {
            return Err(Refusal::Wrong(parsed.spans.errors(problems)));
        }
        warn(&parsed);
        if changes.is_empty() {
            self.renew(process);
            self.keep_parsed(process, parsed);
            let version = last.version();
            return Ok(Some(Report { version, changes }));
        }
        // What the system says of name servers may have changed too.
        let resolver = Resolver::new(&config.process.dns);
        let names = self.names_of(config, &resolver).await;
        let tls = self.tls.read(config);
        let inputs = self.inputs(&names, &tls);
        let version = Snapshot::build(config, &self.registry, &inputs, &process.stats, Some(&last))
            .and_then(|next| {
                let version = next.version();
                process.publish(next).map(|()| version)
            })
            .map_err(|errors| Refusal::Wrong(parsed.spans.errors(errors)))?;
        if config.process.log != last.config().process.log {
            process.logging.apply(&config.process.log);
        }
        self.names = names;
        self.resolver = resolver;
        certs::warn(&parsed, &tls.files);
        self.tls.material = tls;
        self.tls.follow(config, &process.asks);
        self.keep_parsed(process, parsed);
        Ok(Some(Report { version, changes }))
    }

    /// The names of a configuration that may yet be refused: ours stay as they are until it is not.
    async fn names_of(&self, config: &Config, resolver: &Resolver) -> Names {
        let mut names = self.names.clone();
        names.adopt(config, Instant::now());
        resolve(&mut names, resolver, &self.rng).await;
        names
    }
}

/// Has a configuration that was read anew share what is the same with the last one.
fn share(config: &mut Config, last: &Config) {
    let last: HashMap<_, _> = last.clusters.iter().map(|old| (&old.name, old)).collect();
    for cluster in &mut config.clusters {
        if let Some(old) = last.get(&cluster.name) {
            cluster.endpoints.share(&old.endpoints);
        }
    }
}

/// Says what is doubtful.
pub(crate) fn warn(parsed: &Parsed) {
    if !parsed.warnings.is_empty() {
        let rendered = parsed.spans.render_warnings(&parsed.warnings);
        tracing::warn!("the configuration is doubtful:\n{}", rendered.trim_end());
    }
}

/// Asks for every name that is due, all at once, and waits for the answers.
async fn resolve(names: &mut Names, resolver: &Resolver, rng: &Rng) {
    let mut lookups = JoinSet::new();
    for question in names.take_due(Instant::now()) {
        let (resolver, had) = (resolver.clone(), names.had(&question));
        lookups.spawn_local(async move {
            let answer = resolver.lookup(&question, &had).await;
            (question, answer)
        });
    }
    while let Some(done) = lookups.join_next().await {
        if let Ok((question, answer)) = done {
            names.answer(&question, answer, Instant::now(), rng);
        }
    }
}
