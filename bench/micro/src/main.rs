//! Micro-benchmarks: instructions (by callgrind, where valgrind is here) and nanoseconds of single steps of a request.
//!
//! Instructions are the figure to compare: they are the same on a busy machine. Each benchmark runs under callgrind
//! twice, once with twice the repetitions, and the difference is what the repetitions cost: whatever happens once
//! (loading, the benchmark's own preparations) falls out, and nothing need be told where to start and to stop.
//!
//! Each has a limit; the program fails where one is passed, so that a request does not grow dearer unseen.

mod heads;
mod hpack;
mod large;
mod picks;
mod routes;

use std::env;
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// One step of a request, to be repeated.
struct Micro {
    name: &'static str,
    /// Instructions that a repetition may cost: what it cost when it was written, and a tenth more.
    limit: u64,
    /// Prepares, then repeats the step so many times.
    run: fn(u32),
}

/// Repetitions of the shorter of the two runs that are counted.
const COUNTED: u32 = 2_000;
/// Fewer of what costs much: instructions that all of them may have.
const AT_MOST: u64 = 100_000_000;

/// How long each batch of repetitions takes that is timed, and how many there are: the fastest is shown.
const BATCH: Duration = Duration::from_millis(20);
const BATCHES: u32 = 10;

fn main() -> ExitCode {
    let usual = [heads::MICROS, hpack::MICROS, routes::MICROS, picks::MICROS];
    let micros: Vec<&Micro> = usual.into_iter().flatten().collect();
    let large: Vec<&Micro> = large::MICROS.iter().collect();
    let words: Vec<String> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(&micros, |micro| Some(time(micro))),
        ["large"] => {
            large::memory();
            show(&large, |_| None)
        }
        ["repeat", name, times] => repeat(&[micros, large].concat(), name, times),
        _ => {
            eprintln!(
                "bench-micro            (a table of all)\nbench-micro large      (clusters of up to 100,000 hosts; some minutes)\nbench-micro repeat NAME TIMES"
            );
            ExitCode::from(2)
        }
    }
}

/// Runs one benchmark and says nothing: for callgrind, perf and the like.
fn repeat(micros: &[&Micro], name: &str, times: &str) -> ExitCode {
    let found = micros.iter().find(|micro| micro.name == name);
    let (Some(micro), Ok(times)) = (found, times.parse()) else {
        eprintln!("bench-micro: no such benchmark, or no number");
        return ExitCode::from(2);
    };
    (micro.run)(times);
    ExitCode::SUCCESS
}

/// Prints the table, with times where they are asked for; fails where a limit is passed.
fn show(micros: &[&Micro], time: fn(&Micro) -> Option<f64>) -> ExitCode {
    println!("| step | instructions | limit | ns |\n|---|---|---|---|");
    let mut passed = false;
    for micro in micros {
        let nanos = time(micro).map_or_else(String::new, |nanos| format!("{nanos:.0}"));
        match instructions(micro) {
            Ok(count) => {
                passed |= count > micro.limit;
                let mark = if count > micro.limit {
                    " **passed**"
                } else {
                    ""
                };
                println!(
                    "| {} | {count} | {}{mark} | {nanos} |",
                    micro.name, micro.limit
                );
            }
            Err(error) => println!(
                "| {} | not counted ({error}) | {} | {nanos} |",
                micro.name, micro.limit
            ),
        }
    }
    if passed {
        eprintln!(
            "bench-micro: a step costs more instructions than its limit: make it cheaper, or raise the limit in bench/micro/src in the commit \
             that spends them, and say there on what"
        );
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The nanoseconds of one repetition in the fastest batch.
fn time(micro: &Micro) -> f64 {
    let mut times = 1;
    while batch(micro, times) < BATCH {
        times *= 2;
    }
    let fastest = (0..BATCHES).map(|_| batch(micro, times)).min();
    fastest.unwrap_or_default().as_secs_f64() * 1e9 / f64::from(times)
}

fn batch(micro: &Micro, times: u32) -> Duration {
    let start = Instant::now();
    (micro.run)(times);
    start.elapsed()
}

/// The instructions of one repetition.
fn instructions(micro: &Micro) -> io::Result<u64> {
    let counted = COUNTED.min(
        u32::try_from(AT_MOST / micro.limit.max(1))
            .unwrap_or(COUNTED)
            .max(5),
    );
    let fewer = collected(micro.name, counted)?;
    let more = collected(micro.name, counted * 2)?;
    Ok(more.saturating_sub(fewer) / u64::from(counted))
}

/// All instructions of a run of this program with so many repetitions, as callgrind says on its last lines.
fn collected(name: &str, times: u32) -> io::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["repeat", name, &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| io::Error::other("callgrind did not run"))
}
