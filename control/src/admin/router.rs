//! Which page a request asks for. One table says all: path, page, method, a line of help.

use http::{Method, StatusCode};

use super::Answer;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Certs,
    Help,
    Ready,
    Stats,
    Prometheus,
    ConfigDump,
    Clusters,
    Listeners,
    Outliers,
    ServerInfo,
    Logging,
    DrainListeners,
    Quit,
    Reload,
    ReopenLogs,
}

/// What a page does to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It only says something: GET and HEAD.
    Reads,
    /// It changes something: POST.
    Changes,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The path.
    pub(super) path: &'static str,
    /// The page.
    pub(super) page: Page,
    /// What it does.
    pub(super) does: Does,
    /// A line of help.
    pub(super) help: &'static str,
}

const fn row(path: &'static str, page: Page, does: Does, help: &'static str) -> Row {
    Row {
        path,
        page,
        does,
        help,
    }
}

/// Every page there is.
pub(super) const ROWS: [Row; 16] = [
    row("/", Page::Home, Does::Reads, "this page, with links"),
    row(
        "/certs",
        Page::Certs,
        Does::Reads,
        "certificates and authorities: numbers, names, days until they expire",
    ),
    row(
        "/clusters",
        Page::Clusters,
        Does::Reads,
        "clusters and their hosts [?format=json]",
    ),
    row(
        "/config_dump",
        Page::ConfigDump,
        Does::Reads,
        "the configuration that serves, with its defaults, without secrets",
    ),
    row(
        "/drain_listeners",
        Page::DrainListeners,
        Does::Changes,
        "stop accepting, and stay [?graceful: after drain_delay]",
    ),
    row("/help", Page::Help, Does::Reads, "this list"),
    row(
        "/listeners",
        Page::Listeners,
        Does::Reads,
        "listeners and their bound addresses [?format=json]",
    ),
    row(
        "/logging",
        Page::Logging,
        Does::Changes,
        "the level of the process's own log [?level=error|warn|info|debug|trace]",
    ),
    row(
        "/outliers",
        Page::Outliers,
        Does::Reads,
        "the last hosts ejected and back: why, when, for how long",
    ),
    row(
        "/quitquitquit",
        Page::Quit,
        Does::Changes,
        "stop, as TERM does",
    ),
    row(
        "/ready",
        Page::Ready,
        Does::Reads,
        "200 LIVE, or 503 DRAINING or FAILED (a core has stopped)",
    ),
    row(
        "/reload",
        Page::Reload,
        Does::Changes,
        "read the configuration again and say what changed [?format=text]",
    ),
    row(
        "/reopen_logs",
        Page::ReopenLogs,
        Does::Changes,
        "open the access logs' files anew, as USR1 does",
    ),
    row(
        "/server_info",
        Page::ServerInfo,
        Does::Reads,
        "version, state, I/O driver, cores",
    ),
    row(
        "/stats",
        Page::Stats,
        Does::Reads,
        "counters [?usedonly] [?filter=REGEX] [?format=json|prometheus]",
    ),
    row(
        "/stats/prometheus",
        Page::Prometheus,
        Does::Reads,
        "counters for Prometheus [?usedonly|zeros] [?filter=REGEX]",
    ),
];

/// The page, or the refusal: 404, or 405 with what is allowed.
pub(super) fn find(method: &Method, path: &str) -> Result<Page, Answer> {
    let Some(row) = ROWS.iter().find(|row| row.path == path) else {
        return Err(Answer::text(
            StatusCode::NOT_FOUND,
            "no such page; /help lists them\n",
        ));
    };
    let (allow, good) = match row.does {
        Does::Reads => ("GET, HEAD", method == Method::GET || method == Method::HEAD),
        Does::Changes => ("POST", method == Method::POST),
    };
    if good {
        return Ok(row.page);
    }
    let mut refused = Answer::text(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not for {path}; use {allow}\n"),
    );
    refused.allow = Some(allow);
    Err(refused)
}

/// The parameters of a query.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query apart.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// A parameter's value; empty if it has none.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether it is there and does not say `false` or `0`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key)
            .is_some_and(|value| !matches!(value, "false" | "0"))
    }
}

/// `%XX` and `+`; what is no escape stays as it is.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|n| u8::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_reached_by_its_method_alone() {
        for row in ROWS {
            let (good, bad) = match row.does {
                Does::Reads => (Method::GET, Method::POST),
                Does::Changes => (Method::POST, Method::GET),
            };
            assert_eq!(find(&good, row.path).unwrap(), row.page);
            let refused = find(&bad, row.path).unwrap_err();
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
            assert!(
                refused.allow.unwrap().contains(good.as_str()),
                "{}",
                row.path
            );
        }
        assert_eq!(find(&Method::HEAD, "/ready").unwrap(), Page::Ready);
        for path in ["/nonsense", "/ready/", "", "/certificates"] {
            assert_eq!(
                find(&Method::GET, path).unwrap_err().status,
                StatusCode::NOT_FOUND
            );
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("usedonly&filter=a%2Eb%20c+d&x=%zz&y=1%&off=false"));
        assert!(query.has("usedonly") && !query.has("off") && !query.has("none"));
        assert_eq!(query.value("filter"), Some("a.b c d"));
        assert_eq!(query.value("x"), Some("%zz"));
        assert_eq!(query.value("y"), Some("1%"));
    }
}
