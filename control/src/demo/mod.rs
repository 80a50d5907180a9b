//! `ringway demo`: the main job on embedded defaults, with back-ends and a certificate of its own, and what to try on it.

mod backend;
mod certificate;

use std::fmt::Write;
use std::process::ExitCode;
use std::rc::Rc;

use ringway_engine::filter::Registry;

use crate::cli::DemoArgs;
use crate::files::Source;
use crate::process::{self, Process};
use crate::{say, say_error};
use backend::Backend;
use certificate::Certificate;

/// Serves the demo until told to stop.
pub(crate) fn run(args: &DemoArgs, registry: Registry) -> ExitCode {
    let backends = Backend::start("one").and_then(|one| Ok((one, Backend::start("two")?)));
    let (one, two) = match backends {
        Ok(backends) => backends,
        Err(error) => {
            say_error(format_args!(
                "error: the demo's back-ends do not start: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    let certificate = match Certificate::make() {
        Ok(certificate) => certificate,
        Err(error) => {
            say_error(format_args!(
                "error: the demo's certificate cannot be made: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    let source = Source::Text {
        name: "<demo>",
        text: configuration(args, &one, &two, &certificate),
    };
    let ends = format!("one at {}, two at {}", one.address(), two.address());
    let code = process::run(
        source,
        registry,
        Box::new(move |process| {
            say(banner(process, &ends));
        }),
    );
    one.stop();
    two.stop();
    code
}

fn configuration(
    args: &DemoArgs,
    one: &Backend,
    two: &Backend,
    certificate: &Certificate,
) -> String {
    let DemoArgs {
        port,
        tls_port,
        admin_port,
    } = args;
    format!(
        r#"process:
  drain_delay: 0s
  drain_timeout: 5s
listeners:
  - name: demo
    address: 127.0.0.1:{port}
    access_log: [{{ stdout: true }}]
    route_table: demo
  - name: demo_tls
    address: 127.0.0.1:{tls_port}
    access_log: [{{ stdout: true }}]
    tls: {{ certificates: [{{ cert: {cert:?}, key: {key:?} }}] }}
    route_table: demo
route_tables:
  - name: demo
    routes:
      - name: health
        match: {{ path: /healthz }}
        respond: {{ status: 200, body: "ok\n" }}
      - name: flaky
        match: {{ prefix: /flaky }}
        cluster: both
        retry: {{ on: [connect_failure, reset, gateway_error], retries: 2 }}
      - name: all
        match: {{ prefix: / }}
        cluster: both
        timeout: 5s
clusters:
  - name: both
    endpoints: ["{one}", "{two}"]
admin: {{ address: "127.0.0.1:{admin_port}" }}
"#,
        one = one.address(),
        two = two.address(),
        cert = certificate.cert().display().to_string(),
        key = certificate.key().display().to_string(),
    )
}

fn banner(process: &Rc<Process>, ends: &str) -> String {
    let driver = &process.driver;
    let cores = &process.cores;
    let listeners = process.handle.borrow().listeners();
    let address = |place: usize| {
        let listener = listeners.get(place);
        listener.map_or_else(String::new, |(_, address)| address.to_string())
    };
    let (at, tls) = (address(0), address(1));
    let admin = process.admin.as_deref().unwrap_or_default();
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "Ringway {}: the demo serves on http://{at} and https://{tls}",
        env!("CARGO_PKG_VERSION")
    );
    let _ = writeln!(
        out,
        "  I/O driver  {} ({}): {}",
        driver.setup.driver(),
        driver.setup.name(),
        driver.reason
    );
    let pinned = if cores.pin { ", pinned" } else { "" };
    let _ = writeln!(
        out,
        "  cores       {} on CPUs {:?}{pinned}: {}",
        cores.cpus.len(),
        cores.cpus,
        cores.reason
    );
    let _ = writeln!(out, "  back-ends   {ends}");
    let _ = writeln!(out, "  admin       http://{admin}");
    let _ = writeln!(out, "\nTry, in another terminal:");
    for (line, what) in lines_to_try(&at, &tls, admin) {
        let _ = writeln!(out, "  {line:<55} # {what}");
    }
    let _ = write!(out, "\nThe access log follows. Ctrl-C stops.");
    out
}

/// Lines to paste, and what each shows.
fn lines_to_try(at: &str, tls: &str, admin: &str) -> [(String, &'static str); 9] {
    [
        (
            format!("curl -i http://{at}/hello"),
            "who answers, and what it was sent; run it again for the other one",
        ),
        (
            format!("curl -ik https://{tls}/hello"),
            "the same over TLS; -k because the certificate is self-signed",
        ),
        (
            format!("curl -i http://{at}/flaky"),
            "one back-end fails every other time: a retry hides it",
        ),
        (format!("curl -i http://{at}/slow"), "takes a second"),
        (
            format!("curl -i -d some=body http://{at}/post"),
            "with a body",
        ),
        (
            format!("curl -i http://{at}/healthz"),
            "answered by the proxy itself",
        ),
        (
            format!("curl -s http://{admin}/clusters"),
            "the hosts and their counters",
        ),
        (
            format!("curl -s 'http://{admin}/stats?usedonly'"),
            "every counter that is not zero",
        ),
        (
            format!("curl -s http://{admin}/stats/prometheus"),
            "the same for Prometheus",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read, Write as _};
    use std::net::TcpStream;

    fn ask(backend: &Backend, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(backend.address())?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-mark: 7\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn back_ends_say_who_they_are_and_what_they_were_sent() {
        let backend = Backend::start("one").unwrap();
        let answer = ask(&backend, "/hello?a=b").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("back-end one") && answer.contains("GET /hello?a=b"),
            "{answer}"
        );
        assert!(answer.contains("x-mark: 7"), "{answer}");
        backend.stop();
    }

    #[test]
    fn flaky_of_the_first_fails_every_other_time_and_of_the_second_never() {
        let one = Backend::start("one").unwrap();
        let two = Backend::start("two").unwrap();
        let good = |backend: &Backend| -> Vec<bool> {
            (0..4)
                .map(|_| ask(backend, "/flaky").unwrap().starts_with("HTTP/1.1 200"))
                .collect()
        };
        assert_eq!(good(&one), [false, true, false, true]);
        assert_eq!(good(&two), [true; 4]);
        one.stop();
        two.stop();
    }

    #[test]
    fn a_kept_connection_serves_more_than_one_request() {
        let backend = Backend::start("one").unwrap();
        let mut stream = TcpStream::connect(backend.address()).unwrap();
        for _ in 0..2 {
            stream
                .write_all(b"POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody")
                .unwrap();
            let mut answer = Vec::new();
            let mut byte = [0];
            while !answer.ends_with(b"4 bytes of body\n") {
                stream.read_exact(&mut byte).unwrap();
                answer.extend(byte);
            }
        }
        backend.stop();
    }

    #[test]
    fn the_configuration_is_a_good_one() {
        let one = Backend::start("one").unwrap();
        let two = Backend::start("two").unwrap();
        let args = DemoArgs {
            port: 0,
            tls_port: 0,
            admin_port: 0,
        };
        let certificate = Certificate::make().unwrap();
        let source = Source::Text {
            name: "<demo>",
            text: configuration(&args, &one, &two, &certificate),
        };
        if let Err(error) = source.load(&Registry::builtin()) {
            panic!("{error}");
        }
        one.stop();
        two.stop();
    }
}
