//! What of a request says which host it goes to: the hash that its route makes of it, and the cookie of a sticky cluster.

use bytes::Bytes;
use memchr::memchr;
use ringway_config::{Cluster, Cookie, Forward, HashKey, HashPart, Sticky};
use ringway_protocols::Fields;

use crate::cluster::{Host, of_address, sticky_id, xxh64};
use crate::request::RequestCx;
use crate::rng::Rng;

/// A request's ties to a host.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    pub(super) hash: Option<u64>,
    /// The host that the client's cookie names.
    pub(super) sticky: Option<u64>,
    /// A cookie that the client had not, for its hash to be the same next time.
    given: Option<Bytes>,
}

impl Affinity {
    pub(super) fn of(route: &Forward, cluster: &Cluster, request: &RequestCx, rng: &Rng) -> Self {
        let mut affinity = Self::default();
        for key in &route.hash {
            if affinity.mix(key, request, rng) && key.terminal {
                break;
            }
        }
        if let Some(Sticky { cookie, .. }) = &cluster.sticky {
            let value = cookie_of(&request.head.fields, &cookie.name);
            affinity.sticky = value
                .and_then(|value| u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok());
        }
        affinity
    }

    /// Mixes a part in; whether it was there.
    fn mix(&mut self, key: &HashKey, request: &RequestCx, rng: &Rng) -> bool {
        let Some(hash) = self.part(&key.of, request, rng) else {
            return false;
        };
        // As Envoy does, so that the same parts in another order make another hash.
        self.hash = Some(
            self.hash
                .map_or(hash, |before| before.rotate_left(1) ^ hash),
        );
        true
    }

    fn part(&mut self, part: &HashPart, request: &RequestCx, rng: &Rng) -> Option<u64> {
        let fields = &request.head.fields;
        let (path, query) = split(&request.head.target);
        match part {
            HashPart::Header(name) => fields.get(name.as_bytes()).map(|value| xxh64(value, 0)),
            HashPart::Path => Some(xxh64(path, 0)),
            HashPart::Query(name) => {
                parameter(query?, name.as_bytes()).map(|value| xxh64(value, 0))
            }
            HashPart::Source => request.peer.client.map(of_address),
            HashPart::Cookie(cookie) => {
                let value = cookie_of(fields, &cookie.name).filter(|value| !value.is_empty());
                if let Some(value) = value {
                    return Some(xxh64(value, 0));
                }
                cookie.ttl?;
                let value = format!("{:016x}", rng.next());
                self.given = Some(set_cookie(cookie, &value));
                Some(xxh64(value.as_bytes(), 0))
            }
        }
    }

    /// Gives the client the cookies that bring it back to this host.
    pub(super) fn give(&self, cluster: &Cluster, host: Option<&Host>, fields: &mut Fields) {
        if let Some(cookie) = &self.given {
            fields.push("set-cookie", cookie.clone());
        }
        if let (Some(sticky), Some(host)) = (&cluster.sticky, host) {
            let id = sticky_id(&host.label);
            if self.sticky != Some(id) {
                let cookie = set_cookie(&sticky.cookie, &format!("{id:016x}"));
                fields.push("set-cookie", cookie);
            }
        }
    }
}

/// RFC 6265 §4.1.
fn set_cookie(cookie: &Cookie, value: &str) -> Bytes {
    let mut text = format!("{}={value}", cookie.name);
    if let Some(ttl) = cookie.ttl.filter(|ttl| !ttl.is_zero()) {
        text += &format!("; Max-Age={}", ttl.as_secs().max(1));
    }
    if let Some(path) = &cookie.path {
        text += &format!("; Path={path}");
    }
    text += "; HttpOnly";
    Bytes::from(text)
}

/// The value of the first cookie of that name (RFC 6265 §4.2).
fn cookie_of<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    let lines = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(b"cookie"));
    let pairs = lines.flat_map(|field| field.value.split(|byte| *byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = memchr(b'=', pair)?;
        let (key, value) = pair.split_at_checked(at)?;
        (key == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    });
    named.next()
}

fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'?', target).and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (target, None),
    }
}

/// The value of the first parameter of that name, as it stands there.
fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    let mut pairs = query.split(|byte| *byte == b'&');
    pairs.find_map(|pair| {
        let at = memchr(b'=', pair).unwrap_or(pair.len());
        let (key, value) = pair.split_at_checked(at)?;
        (key == name).then(|| value.get(1..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::sample;
    use ringway_config::{Name, WeightedCluster};

    fn hash(keys: &[(HashPart, bool)], fields: &[(&str, &str)]) -> Affinity {
        let cluster = Cluster::new(Name::new("c"), Vec::new());
        let route = Forward {
            clusters: Vec::<WeightedCluster>::new(),
            hash: keys
                .iter()
                .map(|(of, terminal)| HashKey {
                    of: of.clone(),
                    terminal: *terminal,
                })
                .collect(),
            ..Forward::default()
        };
        let request = sample("GET", "/a/b?user=7&x", fields);
        Affinity::of(&route, &cluster, &request, &Rng::new(1))
    }

    fn header(name: &str) -> HashPart {
        HashPart::Header(name.to_owned())
    }

    #[test]
    fn each_part_is_hashed_as_it_stands() {
        let of = |part| {
            hash(
                &[(part, false)],
                &[("X-User", "ann"), ("Cookie", "a=1; sid=s7")],
            )
            .hash
        };
        let cookie = |name: &str| {
            HashPart::Cookie(Cookie {
                name: name.to_owned(),
                ttl: None,
                path: None,
            })
        };
        assert_eq!(of(header("x-user")), Some(xxh64(b"ann", 0)));
        assert_eq!(of(header("x-none")), None);
        assert_eq!(of(HashPart::Path), Some(xxh64(b"/a/b", 0)));
        assert_eq!(of(HashPart::Query("user".to_owned())), Some(xxh64(b"7", 0)));
        assert_eq!(of(HashPart::Query("x".to_owned())), Some(xxh64(b"", 0)));
        assert_eq!(of(HashPart::Query("y".to_owned())), None);
        assert_eq!(of(HashPart::Source), Some(xxh64(&[127, 0, 0, 1], 0)));
        assert_eq!(of(cookie("sid")), Some(xxh64(b"s7", 0)));
        assert_eq!(of(cookie("none")), None);
    }

    #[test]
    fn parts_count_in_order_up_to_a_terminal_one_that_is_there() {
        let fields = [("a", "1"), ("b", "2")];
        let of = |keys: &[(HashPart, bool)]| hash(keys, &fields).hash;
        let (a, b) = (xxh64(b"1", 0), xxh64(b"2", 0));
        assert_eq!(
            of(&[(header("a"), false), (header("b"), false)]),
            Some(a.rotate_left(1) ^ b)
        );
        assert_eq!(of(&[(header("a"), true), (header("b"), false)]), Some(a));
        assert_eq!(of(&[(header("z"), true), (header("b"), false)]), Some(b));
    }

    #[test]
    fn a_client_without_the_cookie_is_given_one() {
        let cookie = HashPart::Cookie(Cookie {
            name: "sid".to_owned(),
            ttl: Some(Duration::from_secs(60)),
            path: Some("/".to_owned()),
        });
        let affinity = hash(&[(cookie.clone(), false)], &[]);
        let given = String::from_utf8(affinity.given.unwrap().to_vec()).unwrap();
        let value = given
            .strip_prefix("sid=")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        assert!(given.ends_with("; Max-Age=60; Path=/; HttpOnly"), "{given}");
        let again = hash(&[(cookie, false)], &[("cookie", &format!("sid={value}"))]);
        assert_eq!(again.hash, affinity.hash);
        assert!(again.given.is_none());
    }
}
