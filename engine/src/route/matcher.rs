//! The conditions of one route: path, methods, fields, what is called, query parameters.

use ringway_config::{self as config, PathError, PathNormalize};
use ringway_protocols::message::{Method, RequestHead, Version};
use ringway_protocols::{FieldId, Fields};

use super::normalize::normalize;
use super::regexes::{Collector, RegexId, Regexes, literal_prefix};
use super::scratch::Scratch;
use super::trie::Reach;
use crate::request::{RPC_GROUP, RPC_METHOD, RPC_SERVICE, RPC_VERSION};

/// Triple's headers for the version and the group of the service.
const TRIPLE_VERSION: &str = "tri-service-version";
/// See [`TRIPLE_VERSION`].
const TRIPLE_GROUP: &str = "tri-service-group";

/// All that must hold.
#[derive(Debug)]
pub(super) struct Matcher {
    path: PathTest,
    methods: Box<[Method]>,
    headers: Box<[FieldTest]>,
    called: Box<[CalledTest]>,
    query: Box<[QueryTest]>,
}

#[derive(Debug)]
enum PathTest {
    Exact(Box<[u8]>),
    /// Without the slash at its end: empty takes all.
    Prefix(Box<[u8]>),
    StartsWith(Box<[u8]>),
    Regex {
        id: RegexId,
        prefix: Box<[u8]>,
    },
}

#[derive(Debug)]
struct FieldTest {
    name: Box<[u8]>,
    id: FieldId,
    test: ValueTest,
    invert: bool,
}

/// What of a call is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    Service,
    Method,
    Version,
    Group,
}

#[derive(Debug)]
struct CalledTest {
    what: Called,
    test: ValueTest,
}

#[derive(Debug)]
struct QueryTest {
    name: Box<[u8]>,
    test: ValueTest,
    invert: bool,
}

#[derive(Debug)]
enum ValueTest {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Regex(RegexId),
    Present,
    Absent,
}

/// The parts of a head that routes ask about, split once.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) version: Version,
    pub(super) method: &'a Method,
    pub(super) path: &'a [u8],
    pub(super) query: Option<&'a [u8]>,
    pub(super) authority: &'a [u8],
    pub(super) fields: &'a Fields,
}

impl<'a> Subject<'a> {
    pub(super) fn of(head: &'a RequestHead) -> Self {
        let path = head.path();
        Self {
            version: head.version,
            method: &head.method,
            path,
            query: head.target.get(path.len() + 1..),
            authority: &head.authority,
            fields: &head.fields,
        }
    }

    /// What a call says of itself: one of an RPC protocol in fields of its own; one of gRPC or Triple (Dubbo 3) by its path,
    /// `/service/method`, and Triple in two headers.
    fn called(&self, what: Called) -> Option<&'a [u8]> {
        let field = match (self.version, what) {
            (Version::Rpc(_), Called::Service) => RPC_SERVICE,
            (Version::Rpc(_), Called::Method) => RPC_METHOD,
            (Version::Rpc(_), Called::Version) => RPC_VERSION,
            (Version::Rpc(_), Called::Group) => RPC_GROUP,
            (_, Called::Version) => TRIPLE_VERSION,
            (_, Called::Group) => TRIPLE_GROUP,
            (_, Called::Service) => return self.path_parts().map(|(service, _)| service),
            (_, Called::Method) => return self.path_parts().map(|(_, method)| method),
        };
        self.fields.get(field.as_bytes())
    }

    /// `/service/method` of a POST.
    fn path_parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let path = self.path.strip_prefix(b"/")?;
        let (service, method) = path.split_at_checked(memchr::memchr(b'/', path)?)?;
        let method = method.get(1..)?;
        let is_call = *self.method == Method::Post
            && ![service, method].contains(&&b""[..])
            && !method.contains(&b'/');
        is_call.then_some((service, method))
    }
}

impl Matcher {
    pub(super) fn takes(&self, subject: &Subject<'_>, regexes: &Regexes) -> bool {
        self.takes_path(subject.path, regexes)
            && (self.methods.is_empty() || self.methods.contains(subject.method))
            && self.headers.iter().all(|test| test.holds(subject, regexes))
            && self.called.iter().all(|asked| {
                let said = subject.called(asked.what);
                asked.test.any(said.into_iter(), regexes)
            })
            && self.query.iter().all(|test| test.holds(subject, regexes))
    }

    fn takes_path(&self, path: &[u8], regexes: &Regexes) -> bool {
        match &self.path {
            PathTest::Exact(literal) => path == &**literal,
            PathTest::Prefix(literal) if literal.is_empty() => true,
            PathTest::Prefix(literal) => path
                .strip_prefix(&**literal)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
            PathTest::StartsWith(literal) => path.starts_with(literal),
            PathTest::Regex { id, .. } => regexes.is_match(*id, path),
        }
    }

    /// The literal that every path it takes begins with, for the trie.
    pub(super) fn literal(&self) -> (&[u8], Reach) {
        match &self.path {
            PathTest::Exact(literal) => (literal, Reach::Whole),
            PathTest::Prefix(literal) | PathTest::StartsWith(literal) => (literal, Reach::Onward),
            PathTest::Regex { prefix, .. } => (prefix, Reach::Onward),
        }
    }
}

impl FieldTest {
    fn holds(&self, subject: &Subject<'_>, regexes: &Regexes) -> bool {
        // `Host` is never among the fields: it is the authority.
        let held = if self.id == FieldId::Host {
            let host = Some(subject.authority).filter(|host| !host.is_empty());
            self.test.any(host.into_iter(), regexes)
        } else {
            let lines = subject.fields.iter().filter(|field| {
                field.id == self.id
                    && (self.id != FieldId::Other || field.name.eq_ignore_ascii_case(&self.name))
            });
            self.test.any(lines.map(|field| field.value), regexes)
        };
        held != self.invert
    }
}

impl QueryTest {
    fn holds(&self, subject: &Subject<'_>, regexes: &Regexes) -> bool {
        let mut values = subject
            .query
            .into_iter()
            .flat_map(|query| query.split(|byte| *byte == b'&'))
            .map(split_pair)
            .filter(|(name, _)| decode(name).eq(self.name.iter().copied()))
            .map(|(_, value)| value);
        let held = match &self.test {
            ValueTest::Present => values.next().is_some(),
            ValueTest::Absent => values.next().is_none(),
            ValueTest::Exact(_)
            | ValueTest::Prefix(_)
            | ValueTest::Suffix(_)
            | ValueTest::Regex(_) => {
                let mut scratch = Scratch::new();
                values.any(|value| self.test.takes(scratch.fill(decode(value)), regexes))
            }
        };
        held != self.invert
    }
}

impl ValueTest {
    fn any<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>, regexes: &Regexes) -> bool {
        match self {
            Self::Absent => values.next().is_none(),
            Self::Present | Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_) | Self::Regex(_) => {
                values.any(|value| self.takes(value, regexes))
            }
        }
    }

    fn takes(&self, value: &[u8], regexes: &Regexes) -> bool {
        match self {
            Self::Exact(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::Regex(id) => regexes.is_match(*id, value),
            Self::Present => true,
            Self::Absent => false,
        }
    }
}

fn called_by(name: &[u8]) -> Option<Called> {
    [
        (RPC_SERVICE, Called::Service),
        (RPC_METHOD, Called::Method),
        (RPC_VERSION, Called::Version),
        (RPC_GROUP, Called::Group),
    ]
    .into_iter()
    .find_map(|(known, what)| (known.as_bytes() == name).then_some(what))
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[]),
    }
}

/// A parameter's bytes as forms write them: `+` is a space, `%XX` a byte; a broken escape stands for itself.
fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'+' => Some(b' '),
            b'%' => match rest
                .split_first_chunk::<2>()
                .and_then(|(hex, after)| Some((unhex(*hex)?, after)))
            {
                Some((value, after)) => {
                    rest = after;
                    Some(value)
                }
                None => Some(b'%'),
            },
            other => Some(other),
        }
    })
}

fn unhex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// Compiles a route's conditions; every error goes to `errors`, below `place`.
pub(super) struct Builder<'a> {
    pub(super) table: &'a config::RouteTable,
    pub(super) regexes: &'a mut Collector,
    pub(super) errors: &'a mut Vec<PathError>,
}

impl Builder<'_> {
    /// `None` where something is wrong.
    pub(super) fn build(&mut self, matches: &config::RouteMatch, place: &str) -> Option<Matcher> {
        let before = self.errors.len();
        let path = self.path(&matches.path, place);
        let headers = self.values(&matches.headers, &format!("{place}.headers"));
        let called = self.values(&matches.rpc, &format!("{place}.rpc"));
        let query = self.values(&matches.query, &format!("{place}.query"));
        let path = path.filter(|_| self.errors.len() == before)?;
        Some(Matcher {
            path,
            methods: matches
                .methods
                .iter()
                .map(|method| Method::from_token(method.as_bytes()))
                .collect(),
            headers: headers
                .into_iter()
                .map(|(name, test, invert)| FieldTest {
                    id: FieldId::of(&name),
                    name,
                    test,
                    invert,
                })
                .collect(),
            called: called
                .into_iter()
                .filter_map(|(name, test, _)| {
                    Some(CalledTest {
                        what: called_by(&name)?,
                        test,
                    })
                })
                .collect(),
            query: query
                .into_iter()
                .map(|(name, test, invert)| QueryTest { name, test, invert })
                .collect(),
        })
    }

    fn path(&mut self, path: &config::PathMatch, place: &str) -> Option<PathTest> {
        let (key, test) = match path {
            config::PathMatch::Exact(text) => ("path", self.literal(text, "").map(PathTest::Exact)),
            config::PathMatch::Prefix(text) => {
                let text = text.strip_suffix('/').unwrap_or(text);
                if text.is_empty() {
                    return Some(PathTest::Prefix(Box::default()));
                }
                ("prefix", self.literal(text, "").map(PathTest::Prefix))
            }
            // A beginning may end inside a segment: what follows decides whether `/a/.` is a dot segment.
            config::PathMatch::StartsWith(text) => (
                "starts_with",
                self.literal(text, "x").map(PathTest::StartsWith),
            ),
            config::PathMatch::Regex(pattern) => {
                let prefix = literal_prefix(&pattern.0).into();
                let id = self.regexes.whole(&pattern.0);
                ("regex", id.map(|id| PathTest::Regex { id, prefix }))
            }
        };
        let place = format!("{place}.{key}");
        test.map_err(|message| self.errors.push(PathError::new(place, message)))
            .ok()
    }

    /// A literal path as requests will have it; one that no request can have is an error, not a dead route.
    fn literal(&self, text: &str, tail: &str) -> Result<Box<[u8]>, String> {
        if text.contains('?') {
            return Err("a path has no query; match parameters with `query`".to_owned());
        }
        let mode = self.table.path_normalize;
        let whole = format!("{text}{tail}");
        let plain = normalize(whole.as_bytes(), mode, self.table.merge_slashes);
        match (plain, mode) {
            (Ok(None), _) => Ok(text.as_bytes().into()),
            (Ok(Some(plain)), _) => Err(format!(
                "no request has this path once it is normalized; write `{}`",
                String::from_utf8_lossy(plain.strip_suffix(tail.as_bytes()).unwrap_or(&plain))
            )),
            (Err(why), PathNormalize::Strict | PathNormalize::Off) => Err(format!(
                "no request has this path once it is normalized: {why}"
            )),
        }
    }

    fn values(
        &mut self,
        tests: &[config::ValueMatch],
        place: &str,
    ) -> Vec<(Box<[u8]>, ValueTest, bool)> {
        let mut out = Vec::with_capacity(tests.len());
        for (at, value) in tests.iter().enumerate() {
            let bytes = |text: &str| text.as_bytes().into();
            let test = match &value.test {
                config::ValueTest::Exact(text) => ValueTest::Exact(bytes(text)),
                config::ValueTest::Prefix(text) => ValueTest::Prefix(bytes(text)),
                config::ValueTest::Suffix(text) => ValueTest::Suffix(bytes(text)),
                config::ValueTest::Present => ValueTest::Present,
                config::ValueTest::Absent => ValueTest::Absent,
                config::ValueTest::Regex(pattern) => match self.regexes.whole(&pattern.0) {
                    Ok(id) => ValueTest::Regex(id),
                    Err(message) => {
                        self.errors
                            .push(PathError::new(format!("{place}[{at}].regex"), message));
                        continue;
                    }
                },
            };
            out.push((bytes(&value.name), test, value.invert));
        }
        out
    }
}
