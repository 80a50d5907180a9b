//! What a request's head becomes on the way to the upstream, and an answer's on the way back.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use ringway_config::{ClientCertField, Forwarded};
use ringway_protocols::http1::strip_hop_by_hop;
use ringway_protocols::message::{RequestHead, ResponseHead};
use ringway_protocols::{FieldId, Fields};

use crate::request::Peer;
use crate::rng::Rng;
use crate::view::Via;

/// What a connection says of itself to upstreams, made once.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    /// The other end is trusted to bring `X-Forwarded-*` and `X-Request-Id`.
    pub(crate) trusted: bool,
    /// The other end's address for `X-Forwarded-For`.
    pub(crate) address: Bytes,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// What its certificate is to upstreams, if it showed one.
    pub(crate) client_cert: Option<Bytes>,
    /// What `Via` says, if anything.
    pub(crate) via: Option<Rc<Via>>,
}

/// Whether an address is in one of the ranges.
pub(crate) fn is_within(ranges: &[IpNet], address: Option<IpAddr>) -> bool {
    let address = address.map(|address| address.to_canonical());
    address.is_some_and(|address| ranges.iter().any(|range| range.contains(&address)))
}

/// The client behind trusted proxies: the right-most address of `X-Forwarded-For` that is not itself trusted.
/// An entry that is no address ends the search: what stands left of it was written by nobody we trust.
pub(crate) fn client_address(fields: &Fields, peer: &Peer, trusted: &[IpNet]) -> Option<IpAddr> {
    let direct = peer.remote.ip().map(|address| address.to_canonical());
    if !is_within(trusted, direct) {
        return direct;
    }
    let mut client = direct;
    let lines: Vec<&[u8]> = fields.all(b"x-forwarded-for").collect();
    for entry in lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
    {
        let Some(address) = std::str::from_utf8(entry)
            .ok()
            .and_then(|text| text.trim().parse::<IpAddr>().ok())
        else {
            break;
        };
        client = Some(address.to_canonical());
        if !is_within(trusted, client) {
            break;
        }
    }
    client
}

/// The limit that a client we trust wants instead of the route's; zero: none at all.
pub(crate) fn wanted_timeout(head: &RequestHead, intro: &Introduction) -> Option<Duration> {
    let value = head.fields.known(FieldId::XEnvoyUpstreamRqTimeoutMs)?;
    let millis = std::str::from_utf8(value).ok()?.parse().ok()?;
    intro.trusted.then_some(Duration::from_millis(millis))
}

/// Takes off a request what concerns one connection only, and sets what we say of the client (RFC 9110 §7.6).
pub(crate) fn forward(
    head: &mut RequestHead,
    intro: &Introduction,
    forwarded: &Forwarded,
    rng: &Rng,
) {
    let fields = &mut head.fields;
    // First what the client's `Connection` names, so that it cannot name what is set here (CVE-2022-31813).
    strip_hop_by_hop(fields);
    // What it says is said to us.
    if fields.known(FieldId::XEnvoyUpstreamRqTimeoutMs).is_some() {
        fields.retain(|field| field.id != FieldId::XEnvoyUpstreamRqTimeoutMs);
    }
    if !intro.trusted {
        fields.retain(|field| {
            !matches!(
                field.id,
                FieldId::XForwardedFor | FieldId::XForwardedHost | FieldId::XForwardedProto
            ) && (field.id != FieldId::XRequestId || !forwarded.x_request_id)
        });
    }
    client_cert(fields, intro, forwarded.x_forwarded_client_cert);
    if forwarded.x_forwarded_for && !intro.address.is_empty() {
        let before: Vec<&[u8]> = if intro.trusted {
            fields.all(b"x-forwarded-for").collect()
        } else {
            Vec::new()
        };
        let value = if before.is_empty() {
            intro.address.clone()
        } else {
            Bytes::from([&before.join(&b", "[..]), &intro.address[..]].join(&b", "[..]))
        };
        let known = !before.is_empty();
        if known {
            fields.set("x-forwarded-for", value);
        } else {
            fields.push("x-forwarded-for", value);
        }
    }
    if forwarded.x_forwarded_proto && fields.known(FieldId::XForwardedProto).is_none() {
        fields.push("x-forwarded-proto", intro.scheme);
    }
    if forwarded.x_forwarded_host && fields.known(FieldId::XForwardedHost).is_none() {
        fields.push("x-forwarded-host", head.authority.clone());
    }
    if forwarded.x_request_id && fields.known(FieldId::XRequestId).is_none() {
        fields.push("x-request-id", request_id(rng));
    }
    if let Some(via) = &intro.via {
        fields.push("via", via.of(head.version));
    }
}

/// What becomes of `X-Forwarded-Client-Cert`. Who did not show a certificate has nothing to say of one.
fn client_cert(fields: &mut Fields, intro: &Introduction, how: ClientCertField) {
    let own = intro.client_cert.as_ref();
    let brought = fields.known(FieldId::XForwardedClientCert).is_some();
    let value = match (how, own) {
        (ClientCertField::Forward, Some(_)) => return,
        (ClientCertField::Sanitize | ClientCertField::Forward, _) | (_, None) => None,
        (ClientCertField::Set, Some(own)) => Some(own.clone()),
        (ClientCertField::Append, Some(own)) => {
            let lines = fields.all_known(FieldId::XForwardedClientCert);
            let all: Vec<&[u8]> = lines.chain([&own[..]]).collect();
            Some(all.join(&b","[..]).into())
        }
    };
    if brought {
        fields.remove(b"x-forwarded-client-cert");
    }
    if let Some(value) = value {
        fields.push("x-forwarded-client-cert", value);
    }
}

/// A random UUID (RFC 9562 §5.4).
fn request_id(rng: &Rng) -> [u8; 36] {
    const GROUPS: [(usize, usize, usize); 5] =
        [(0, 0, 8), (8, 9, 4), (12, 14, 4), (16, 19, 4), (20, 24, 12)];
    let high = (rng.next() & !(0xf << 12)) | (0x4 << 12);
    let low = (rng.next() & !(0x3 << 62)) | (0x2 << 62);
    let mut digits = [0; 32];
    for (place, bits) in digits.chunks_exact_mut(16).zip([high, low]) {
        place[..8].copy_from_slice(&hex((bits >> 32) as u32));
        place[8..].copy_from_slice(&hex(bits as u32));
    }
    let mut id = [b'-'; 36];
    for (from, to, length) in GROUPS {
        id[to..to + length].copy_from_slice(&digits[from..from + length]);
    }
    id
}

/// Eight digits at once: each nibble is spread to a byte of its own, and those above 9 move on to the letters.
fn hex(bits: u32) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut nibbles = u64::from(bits);
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & (0x0f * EACH);
    let letters = ((nibbles + 6 * EACH) >> 4) & EACH;
    (nibbles + u64::from(b'0') * EACH + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// Takes off an answer what concerns one connection only, and adds what a proxy adds.
pub(crate) fn back(head: &mut ResponseHead, intro: &Introduction, date: impl FnOnce() -> Bytes) {
    let upgrade = head
        .fields
        .known(FieldId::Upgrade)
        .filter(|_| head.status == 101)
        .map(Bytes::copy_from_slice);
    strip_hop_by_hop(&mut head.fields);
    if let Some(upgrade) = upgrade {
        head.fields.push("connection", "upgrade");
        head.fields.push("upgrade", upgrade);
    }
    // RFC 9110 §6.6.1: who forwards an answer without a date gives it one.
    if head.status >= 200 && head.fields.known(FieldId::Date).is_none() {
        head.fields.push("date", date());
    }
    if let Some(via) = &intro.via {
        let version = head.version;
        head.fields.push("via", via.of(version));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::request::PeerAddr;

    fn client(xff: &[&'static str], trusted: &str) -> String {
        let mut fields = Fields::new();
        xff.iter()
            .for_each(|line| fields.push("X-Forwarded-For", *line));
        let addr = PeerAddr::Ip(SocketAddr::from(([10, 0, 0, 1], 5)));
        let peer = Peer {
            remote: addr.clone(),
            local: addr,
            proxied: None,
            client: None,
            server_name: None,
            tls: None,
        };
        let trusted: Vec<IpNet> = vec![trusted.parse().expect("a range")];
        client_address(&fields, &peer, &trusted)
            .map_or_else(String::new, |address| address.to_string())
    }

    #[test]
    fn the_client_is_the_last_that_is_not_trusted() {
        assert_eq!(client(&["1.2.3.4"], "192.168.0.0/16"), "10.0.0.1");
        assert_eq!(
            client(&["6.6.6.6, 1.2.3.4, 10.9.9.9"], "10.0.0.0/8"),
            "1.2.3.4"
        );
        assert_eq!(client(&["6.6.6.6", "1.2.3.4"], "10.0.0.0/8"), "1.2.3.4");
        assert_eq!(
            client(&["6.6.6.6, junk, 10.2.2.2"], "10.0.0.0/8"),
            "10.2.2.2"
        );
        assert_eq!(client(&[], "10.0.0.0/8"), "10.0.0.1");
    }

    #[test]
    fn request_ids_are_version_4_uuids() {
        let id = request_id(&Rng::new(9));
        assert_eq!(id.len(), 36);
        assert_eq!((id[14], id[8], id[23]), (b'4', b'-', b'-'));
        assert!(matches!(id[19], b'8' | b'9' | b'a' | b'b'));
    }
}
