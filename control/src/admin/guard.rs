//! Who may ask: on loopback, nobody whom a web page sent.
//!
//! A page in a browser on this machine can make it send requests to 127.0.0.1. Two checks stop it. A page whose name was rebound to
//! 127.0.0.1 (DNS rebinding) is same-origin to itself and could read the answers, but its name stands in `Host`. A page of another
//! origin that posts a form cannot read, but could stop the process; its `Origin` gives it away.

use std::fmt;

use http::header::{HOST, ORIGIN};
use http::request::Parts;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It asks for a name that is not this machine's own.
    Host,
    /// A page of another origin sent it.
    Origin,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => {
                "refused: ask for localhost, 127.0.0.1, [::1] or the address that the admin interface listens on"
            }
            Self::Origin => "refused: a web page of another origin sent this",
        })
    }
}

/// Checks the head of a request to a listener whose bound address is `bound`.
pub(super) fn check(head: &Parts, bound: Option<&str>, loopback: bool) -> Result<(), Refused> {
    if !loopback {
        // Reached from elsewhere by names that we cannot know; a Unix socket is out of a browser's reach.
        return Ok(());
    }
    let own = |authority: &str| is_own(authority, bound);
    let field = |name| head.headers.get(&name).map(|value| value.to_str());
    // A target in absolute form overrides `Host` (RFC 9112 §3.2.2).
    let asked = match (head.uri.authority(), field(HOST)) {
        (Some(authority), _) => own(authority.as_str()),
        (None, Some(Ok(host))) => own(host),
        // HTTP/1.0 without `Host` is no browser.
        (None, None) => true,
        (None, Some(Err(_))) => false,
    };
    if !asked {
        return Err(Refused::Host);
    }
    let origin = match field(ORIGIN) {
        None => true,
        Some(Ok(origin)) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| own(authority)),
        Some(Err(_)) => false,
    };
    if origin { Ok(()) } else { Err(Refused::Origin) }
}

fn is_own(authority: &str, bound: Option<&str>) -> bool {
    if bound == Some(authority) {
        return true;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    let bound_host = bound
        .and_then(|bound| bound.rsplit_once(':'))
        .map(|(host, _)| host);
    host.eq_ignore_ascii_case("localhost")
        || host == "127.0.0.1"
        || host == "[::1]"
        || bound_host == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn ask(host: Option<&str>, origin: Option<&str>) -> Result<(), Refused> {
        let mut request = Request::builder().uri("/stats");
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head, Some("127.0.0.2:9901"), true)
    }

    #[test]
    fn only_this_machines_own_names_are_served_on_loopback() {
        for (host, good) in [
            ("localhost", true),
            ("LOCALHOST:9901", true),
            ("127.0.0.1:9901", true),
            ("127.0.0.2:9901", true),
            ("127.0.0.2", true),
            ("[::1]:80", true),
            ("[::1]", true),
            ("evil.example:9901", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            assert_eq!(ask(Some(host), None).is_ok(), good, "{host:?}");
        }
        assert!(ask(None, None).is_ok());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        for (origin, good) in [
            ("http://127.0.0.1:9901", true),
            ("http://localhost:9901", true),
            ("https://evil.example", false),
            ("null", false),
        ] {
            let expect = if good { Ok(()) } else { Err(Refused::Origin) };
            assert_eq!(
                ask(Some("127.0.0.1:9901"), Some(origin)),
                expect,
                "{origin}"
            );
        }
    }

    #[test]
    fn elsewhere_names_are_not_ours_to_know() {
        let request = Request::builder().header(HOST, "proxy.example");
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert!(check(&head, Some("10.0.0.1:9901"), false).is_ok());
        assert!(check(&head, Some("127.0.0.1:9901"), true).is_err());
    }
}
