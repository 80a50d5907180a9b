//! The command line: what is asked for. Doing it is `main`'s and `process`'s.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Where `reload` asks when neither `--admin` nor the configuration says.
pub(crate) const ADMIN_DEFAULT: &str = "127.0.0.1:9901";

/// A proxy engine for Linux: one thread per core, each with its own io_uring ring.
#[derive(Debug, Parser)]
#[command(
    name = "ringway",
    version,
    about,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 good, 1 bad configuration or failed start, 2 usage.\n\
                  `ringway -c FILE` is `ringway run -c FILE`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration: YAML, JSON or TOML by its extension; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Cli {
    /// What is asked for; a bare `-c FILE` is `run`.
    pub(crate) fn command(self) -> Command {
        match (self.command, self.config) {
            (Some(command), _) => command,
            (None, Some(config)) => Command::Run(FileArgs { config }),
            // clap prints the help and leaves with 2 before this for an empty command line.
            (None, None) => Command::Version(VersionArgs { json: false }),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve
    Run(FileArgs),
    /// Check a configuration and exit: every error at once, each with its line
    Validate(FileArgs),
    /// Serve built-in back-ends with built-in defaults, to try things out
    Demo(DemoArgs),
    /// Print a commented configuration to start from, or write it to a file
    Init(InitArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Make the running process read its configuration again, and print what changed
    Reload(ReloadArgs),
    /// Print the version
    Version(VersionArgs),
    /// Print completions for a shell
    Completion(CompletionArgs),
    /// Print the manual page
    Man,
}

/// A configuration file.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The configuration: YAML, JSON or TOML by its extension; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Ports of the demo.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Port of the listener on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Port of the listener for TLS on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8443)]
    pub(crate) tls_port: u16,
    /// Port of the admin interface on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 9901)]
    pub(crate) admin_port: u16,
}

/// Where the starter goes.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The file to write, which must not be there; without one it is printed
    pub(crate) file: Option<PathBuf>,
}

/// Whom to ask.
#[derive(Args, Debug)]
pub(crate) struct ReloadArgs {
    /// The admin interface: `HOST:PORT` or `unix:PATH` [default: the configuration's, else 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// The configuration whose `admin.address` is asked
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How to print.
#[derive(Args, Debug)]
pub(crate) struct VersionArgs {
    /// As one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which shell.
#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// The completions of a shell.
pub(crate) fn completion(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::definition(), "ringway", &mut out);
    out
}

/// The manual page: the program's, then one for each command.
pub(crate) fn man() -> std::io::Result<Vec<u8>> {
    let mut command = Cli::definition();
    command.build();
    let mut out = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut out)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        clap_mangen::Man::new(sub.clone()).render(&mut out)?;
    }
    Ok(out)
}

impl Cli {
    fn definition() -> clap::Command {
        <Self as CommandFactory>::command()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, i32> {
        Cli::try_parse_from(line.split_whitespace())
            .map(Cli::command)
            .map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn a_bare_file_is_run() {
        for line in [
            "ringway -c a.yaml",
            "ringway run -c a.yaml",
            "ringway run --config=a.yaml",
        ] {
            let Ok(Command::Run(args)) = parse(line) else {
                panic!("{line}");
            };
            assert_eq!(args.config, PathBuf::from("a.yaml"));
        }
        let Ok(Command::Validate(args)) = parse("ringway validate -c -") else {
            panic!();
        };
        assert_eq!(args.config, PathBuf::from("-"));
    }

    #[test]
    fn wrong_usage_leaves_with_2_and_help_with_0() {
        for (line, code) in [
            ("ringway", 2),
            ("ringway run", 2),
            ("ringway nonsense", 2),
            ("ringway demo --port 70000", 2),
            ("ringway -c a.yaml validate -c b.yaml", 2),
            ("ringway completion tcsh", 2),
            ("ringway --help", 0),
            ("ringway --version", 0),
        ] {
            assert_eq!(parse(line).unwrap_err(), code, "{line}");
        }
    }

    #[test]
    fn defaults_are_as_documented() {
        let Ok(Command::Demo(demo)) = parse("ringway demo") else {
            panic!();
        };
        assert_eq!(
            (demo.port, demo.tls_port, demo.admin_port),
            (8080, 8443, 9901)
        );
        let Ok(Command::Init(init)) = parse("ringway init") else {
            panic!();
        };
        assert_eq!(init.file, None);
        let Ok(Command::Reload(reload)) = parse("ringway reload --admin unix:/run/a.sock") else {
            panic!();
        };
        assert_eq!(reload.admin.as_deref(), Some("unix:/run/a.sock"));
    }

    #[test]
    fn completions_and_the_manual_name_every_command() {
        let man = String::from_utf8(man().unwrap()).unwrap();
        let bash = String::from_utf8(completion(Shell::Bash)).unwrap();
        for command in [
            "run", "validate", "demo", "init", "schema", "reload", "version",
        ] {
            assert!(man.contains(command) && bash.contains(command), "{command}");
        }
    }
}
