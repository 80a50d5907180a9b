//! The commands that are not `run`: each answers, prints and leaves.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ringway_config::Config;
use ringway_engine::filter::Registry;
use ringway_engine::observe::Stats;
use ringway_engine::{Inputs, Snapshot};

use crate::admin::client;
use crate::certs;
use crate::cli::{self, ADMIN_DEFAULT, Command, ReloadArgs};
use crate::demo;
use crate::files::{LoadError, Source, secrets};
use crate::process;
use crate::telemetry::access_log;
use crate::{say, say_error};

/// Does what is asked for.
pub(crate) fn run(command: Command, registry: Registry) -> ExitCode {
    match command {
        Command::Run(args) => match Source::of_argument(&args.config) {
            Ok(source) => process::run(source, registry, Box::new(|_| {})),
            Err(error) => fail(&error),
        },
        Command::Validate(args) => validate(&args.config, &registry),
        Command::Demo(args) => demo::run(&args, registry),
        Command::Init(args) => init(args.file.as_deref()),
        Command::Schema => print(format!("{:#}\n", ringway_config::schema()).as_bytes()),
        Command::Reload(args) => reload(&args, &registry),
        Command::Version(args) => {
            say(version(args.json));
            ExitCode::SUCCESS
        }
        Command::Completion(args) => print(&cli::completion(args.shell)),
        Command::Man => match cli::man() {
            Ok(page) => print(&page),
            Err(error) => fail(&error),
        },
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    say_error(error);
    ExitCode::FAILURE
}

fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        // `ringway man | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Parses and builds, and starts nothing. Host names are not looked up, and no address is bound: a good file is good without a network,
/// and beside the process that serves it. Files that are to be written are neither made nor opened.
fn validate(path: &Path, registry: &Registry) -> ExitCode {
    match check(path, registry) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                say_error(warnings);
            }
            say(format_args!(
                "{}: good (listeners: {}, clusters: {})",
                path.display(),
                config.listeners.len(),
                config.clusters.len()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn check(path: &Path, registry: &Registry) -> Result<(Config, String), LoadError> {
    let parsed = Source::of_argument(path)?.load(registry)?;
    let stats = Arc::new(Stats::new(1));
    let mut inputs = Inputs::default();
    inputs.tls.files = secrets::read(&secrets::wanted(&parsed.config));
    Snapshot::build(&parsed.config, registry, &inputs, &stats, None)
        .map_err(|errors| LoadError::Config(parsed.spans.errors(errors)))?;
    let mut warnings = parsed.warnings.clone();
    let mut doubts = certs::doubts(&parsed.config, &inputs.tls.files);
    // A start would be refused; but it may come later, elsewhere, and under another user.
    doubts.extend(access_log::unwritable(&parsed.config, access_log::could));
    warnings.extend(parsed.spans.errors(doubts).problems);
    let warnings = parsed.spans.render_warnings(&warnings);
    Ok((parsed.config, warnings))
}

fn init(path: Option<&Path>) -> ExitCode {
    let Some(path) = path else {
        return print(ringway_config::starter().as_bytes());
    };
    // Never over a file that is there: it may be the one that serves.
    let written = fs::File::create_new(path)
        .and_then(|mut file| file.write_all(ringway_config::starter().as_bytes()));
    match written {
        Ok(()) => {
            say(format_args!(
                "wrote {0}; try `ringway validate -c {0}`, then `ringway run -c {0}`",
                path.display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(format_args!(
                "error: cannot write `{}`: {error}",
                path.display()
            ));
            ExitCode::FAILURE
        }
    }
}

fn version(json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        serde_json::json!({
            "name": "ringway",
            "version": version,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
        })
        .to_string()
    } else {
        format!("ringway {version}")
    }
}

fn reload(args: &ReloadArgs, registry: &Registry) -> ExitCode {
    let address = match (&args.admin, &args.config) {
        (Some(address), _) => address.clone(),
        (None, Some(path)) => match admin_of(path, registry) {
            Ok(address) => address,
            Err(error) => return fail(&error),
        },
        (None, None) => ADMIN_DEFAULT.to_owned(),
    };
    match client::reload(&address) {
        Ok(answer) if answer.good => {
            say(answer.text.trim_end());
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            say_error(answer.text);
            ExitCode::FAILURE
        }
        Err(error) => {
            say_error(format_args!("error: cannot ask `{address}`: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The address that a configuration names. The file may be the very one that is wrong: then the default is asked, and the running
/// process says what is wrong with it.
fn admin_of(path: &Path, registry: &Registry) -> Result<String, LoadError> {
    let parsed = match Source::of_argument(path)?.load(registry) {
        Ok(parsed) => parsed,
        Err(LoadError::Config(_)) => return Ok(ADMIN_DEFAULT.to_owned()),
        Err(error) => return Err(error),
    };
    let admin = parsed.config.admin;
    Ok(admin.map_or(ADMIN_DEFAULT.to_owned(), |admin| {
        crate::admin::text_of(&admin.address)
    }))
}
