//! What control hears of a core whose own loop fails. Nothing outside can break one, so the command that does is there in tests only.

use std::sync::mpsc;
use std::time::Duration;

use ringway_config::{Config, IoDriver};

use super::*;
use crate::filter::Registry;
use crate::observe::{Stats, log_ring};
use crate::snapshot::Inputs;

/// Nothing here takes longer, however busy the machine.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_core_that_fails_is_told_at_once() {
    for driver in [IoDriver::Auto, IoDriver::Epoll] {
        let stats = Arc::new(Stats::new(1));
        let (logs, _lines) = log_ring::ring(1);
        let (failing, failures) = mpsc::channel();
        let options = Options {
            cores: vec![0],
            pin: false,
            driver,
            max_connections: 100,
            pipes: 0,
            logs,
            stats: Arc::clone(&stats),
            seed: 1,
            on_failure: Arc::new(move |core| failing.send(core).expect("the test listens")),
        };
        let inputs = Inputs::default();
        let snapshot = Snapshot::build(
            &Config::default(),
            &Registry::builtin(),
            &inputs,
            &stats,
            None,
        )
        .expect("nothing is nothing wrong");
        let handle = Handle::start(options, snapshot).expect("it starts");
        assert_eq!(handle.alive(), 1);
        handle.threads[0].tell(Command::Fail);
        assert_eq!(failures.recv_timeout(DEADLINE), Ok(0));
        assert_eq!(handle.alive(), 0);
    }
}
