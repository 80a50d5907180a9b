//! The proxy under test: the real binary, with its own directory, configuration and admin socket.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use crate::client::Client;
use crate::http::Response;
use crate::sys;
use crate::tempdir::TempDir;
use crate::wait::{wait_for, wait_until};

/// How the cores of the proxy do their I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll.
    Epoll,
}

impl Driver {
    /// As the configuration says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
    /// Whether the kernel allows it; says so where it does not.
    pub fn allowed(self) -> bool {
        let allowed = self == Self::Epoll || sys::io_uring_allowed();
        if !allowed {
            eprintln!("skipped: the kernel forbids io_uring here");
        }
        allowed
    }
}

/// The path of the built binary: `RINGWAY_BIN`, or built now with the profile and target directory of this test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("RINGWAY_BIN") {
            return PathBuf::from(path);
        }
        // This test is TARGET/PROFILE/deps/proxy-HASH.
        let exe = std::env::current_exe().expect("a path of this test");
        let profile_dir = exe.ancestors().nth(2).expect("a profile directory");
        let release = profile_dir
            .file_name()
            .is_some_and(|name| name == "release");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(root())
            .args(["build", "--offline", "--quiet", "--bin", "ringway"]);
        cargo
            .arg("--target-dir")
            .arg(profile_dir.parent().expect("a target directory"));
        if release {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the proxy does not build:\n{words}"
        );
        profile_dir.join("ringway")
    })
}

/// The root of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the tree")
}

/// Runs the binary to its end: its status, standard output and standard error.
pub fn run(args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut command = Command::new(binary());
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, stdin.as_bytes()).expect("it reads its input");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A configuration of one listener `web` with these routes (a YAML list, one route a line) and clusters by name.
pub fn site(routes: &str, clusters: &[(&str, &[SocketAddr])]) -> String {
    let mut text =
        String::from("listeners:\n  - name: web\n    address: 127.0.0.1:0\n    routes:\n");
    for line in routes.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "      {}", line.trim());
    }
    text.push_str("clusters:\n");
    for (name, addrs) in clusters {
        let addrs: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
        let _ = writeln!(
            text,
            "  - {{ name: {name}, endpoints: [{}] }}",
            addrs.join(", ")
        );
    }
    text
}

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    driver: Driver,
    process: String,
    nofile: Option<u64>,
    env: Vec<(String, String)>,
    verbatim: bool,
    binary: Option<PathBuf>,
}

impl Setup {
    /// Keys of `process:` beside the driver, as `cores: 1, drain_delay: 0s`.
    #[must_use]
    pub fn process(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.process);
        self
    }
    /// The limit of open files, soft and hard.
    #[must_use]
    pub fn nofile(mut self, limit: u64) -> Self {
        self.nofile = Some(limit);
        self
    }
    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes configurations as they are, but for `DIR`: they bring their own `admin: unix:DIR/admin.sock`.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.verbatim = true;
        self
    }

    /// Another binary than the one built here: a `ringway` of somebody's own.
    #[must_use]
    pub fn binary(mut self, path: &str) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self, config: &str) -> Proxy {
        let mut proxy = self.spawn(config);
        proxy.wait_ready();
        proxy
    }

    /// Starts it and does not wait.
    pub fn spawn(self, config: &str) -> Proxy {
        let dir = TempDir::new();
        let path = dir.join("ringway.yaml");
        self.spawn_in(dir, &path, config)
    }

    /// Starts it on a file in a directory already made.
    pub fn spawn_in(self, dir: TempDir, path: &Path, config: &str) -> Proxy {
        let config = self.whole(config, dir.path());
        std::fs::write(path, config).expect("a configuration file");
        let binary = self.binary.as_deref().unwrap_or_else(|| binary());
        let mut command = match self.nofile {
            None => Command::new(binary),
            Some(limit) => {
                // The shell's `ulimit` sets both limits, and `exec` keeps the process id.
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
                    .arg(binary);
                shell
            }
        };
        command.arg("run").arg("-c").arg(path);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Proxy {
            child,
            exit: None,
            dir,
            path: path.to_owned(),
            setup: self,
            stdout,
            stderr,
        }
    }

    /// The configuration with what the harness adds: driver, cores, short stops, an admin socket.
    fn whole(&self, config: &str, dir: &Path) -> String {
        let dir_text = dir.display().to_string();
        if self.verbatim {
            return config.replace("DIR/", &format!("{dir_text}/"));
        }
        let mut process = format!("io_driver: {}", self.driver.name());
        for (key, value) in [
            ("cores", "2"),
            ("drain_delay", "0s"),
            ("drain_timeout", "10s"),
        ] {
            if !self.process.contains(&format!("{key}:")) {
                let _ = write!(process, ", {key}: {value}");
            }
        }
        if !self.process.is_empty() {
            let _ = write!(process, ", {}", self.process);
        }
        let mut text = format!("process: {{ {process} }}\n");
        if !config.contains("\nadmin:") {
            let _ = writeln!(
                text,
                "admin: {{ address: \"unix:{}\" }}",
                dir.join("admin.sock").display()
            );
        }
        text + &config.replace("DIR/", &format!("{dir_text}/"))
    }
}

/// A running proxy, killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    exit: Option<ExitStatus>,
    dir: TempDir,
    path: PathBuf,
    setup: Setup,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Proxy {
    /// A proxy of two cores with this driver.
    pub fn with(driver: Driver) -> Setup {
        Setup {
            driver,
            process: String::new(),
            nofile: None,
            env: Vec::new(),
            verbatim: false,
            binary: None,
        }
    }

    /// Starts one with nothing particular.
    #[track_caller]
    pub fn start(driver: Driver, config: &str) -> Self {
        Self::with(driver).start(config)
    }

    /// One that forwards everything to these addresses.
    #[track_caller]
    pub fn to(driver: Driver, addrs: &[SocketAddr]) -> Self {
        Self::start(
            driver,
            &site("- { match: { prefix: / }, cluster: up }", &[("up", addrs)]),
        )
    }

    /// Waits until `/ready` says so.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        wait_until("the proxy is ready", || {
            let ended = self.ended();
            assert!(
                ended.is_none(),
                "the proxy ended ({ended:?}):\n{}",
                self.stderr()
            );
            self.try_admin("GET", "/ready")
                .is_some_and(|answer| answer.status == 200)
        });
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Its directory (`DIR` in a configuration).
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
    /// Its configuration file.
    pub fn config_path(&self) -> &Path {
        &self.path
    }
    /// Its admin socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }
    /// What it wrote on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().expect("whole").clone()
    }
    /// What it wrote on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("whole").clone()
    }

    /// Where a listener is bound.
    #[track_caller]
    pub fn addr(&self, listener: &str) -> SocketAddr {
        let text = self.admin("GET", "/listeners").text();
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(listener)?.strip_prefix("::"));
        found
            .and_then(|addr| addr.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {listener} in {text:?}"))
    }

    /// A client of the listener `web`.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.addr("web"))
    }

    /// An answer of the admin interface.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str) -> Response {
        self.try_admin(method, path)
            .unwrap_or_else(|| panic!("admin {method} {path}: no answer\n{}", self.stderr()))
    }

    /// An answer of the admin interface, if there is one.
    pub fn try_admin(&self, method: &str, path: &str) -> Option<Response> {
        let mut client = Client::try_unix(&self.admin_socket()).ok()?;
        client
            .try_ask(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
            .ok()
    }

    /// The sum of all Prometheus samples of this name whose labels hold all of `labels` (as `cluster="up"`).
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.try_metric(name, labels)
            .unwrap_or_else(|text| panic!("no metric {name} {labels:?} in\n{text}"))
    }

    /// The same where there may be no such sample yet; the page, if there is none.
    #[track_caller]
    pub fn try_metric(&self, name: &str, labels: &[&str]) -> Result<f64, String> {
        let text = self.admin("GET", "/stats/prometheus?zeros").text();
        let samples = text.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let (base, set) = key.split_once('{').unwrap_or((key, ""));
            let fits = base == name && labels.iter().all(|label| set.contains(label));
            fits.then(|| value.parse::<f64>().unwrap_or(f64::NAN))
        });
        let samples: Vec<f64> = samples.collect();
        if samples.is_empty() {
            return Err(text);
        }
        Ok(samples.iter().sum())
    }

    /// A configuration with what the harness adds to it.
    pub fn whole(&self, config: &str) -> String {
        self.setup.whole(config, self.dir.path())
    }

    /// Writes a new configuration (with the harness's part) without asking for a reload.
    pub fn write(&self, config: &str) {
        // Beside and renamed, as careful tools do: a reader sees the old file or the new one.
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, self.whole(config)).expect("a file");
        std::fs::rename(&beside, &self.path).expect("renamed");
    }

    /// Writes a new configuration and asks for a reload: the admin interface's answer.
    #[track_caller]
    pub fn try_reload(&self, config: &str) -> Response {
        self.write(config);
        self.admin("POST", "/reload")
    }

    /// Writes a new configuration and has it taken by every core.
    #[track_caller]
    pub fn reload(&self, config: &str) {
        let answer = self.try_reload(config);
        assert_eq!(answer.status, 200, "reload refused: {}", answer.text());
        wait_until("every core has it", || {
            let text = self.admin("GET", "/server_info").text();
            let version = |key: &str| {
                let (_, rest) = text.split_once(&format!("\"{key}\":")).expect("a version");
                let rest = rest.trim_start();
                let end = rest.find(|c: char| !c.is_ascii_digit());
                rest.get(..end.unwrap_or(rest.len())).map(str::to_owned)
            };
            version("config_version") == version("config_version_applied")
        });
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) {
        sys::signal(self.child.id(), signal);
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("a child of ours");
        }
        self.exit
    }

    /// Waits for its end: the exit code.
    #[track_caller]
    pub fn wait_end(&mut self) -> Option<i32> {
        wait_for("the proxy ends", || self.ended()).code()
    }

    /// Waits until its standard error holds this.
    #[track_caller]
    pub fn wait_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || {
            self.stderr().contains(text)
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the proxy's log ---\n{}\n---", self.stderr());
        }
    }
}

fn collect(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            into.lock()
                .expect("whole")
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}
