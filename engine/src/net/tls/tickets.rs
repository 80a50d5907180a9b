//! Tickets by which clients come back without certificates: sealed with keys that all cores, and a fleet, share.
//!
//! Control makes the secrets, or reads them from a file, and rotates them. What seals a ticket is derived from a secret and
//! from the context in which the ticket may be used: chain, trust, revocations, names asked for. So a ticket that was given
//! where less was asked opens nothing where more is, and none outlives a change of what it stands for.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// How long a ticket is good: secrets are kept as long.
pub const TICKET_LIFETIME: std::time::Duration = std::time::Duration::from_secs(12 * 3600);

/// Secrets, the newest first: it seals, all of them open.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TicketSecrets(pub Arc<[[u8; 32]]>);

impl fmt::Debug for TicketSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl TicketSecrets {
    /// How many of them are kept beside the newest: with a rotation each half of a ticket's life, as long as their tickets are good.
    const OLDER: usize = 2;

    /// As a file has them. `None`: there is none, or a line that is no key.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let secrets: Option<Vec<[u8; 32]>> = lines.map(secret).collect();
        secrets
            .filter(|secrets| !secrets.is_empty())
            .map(|secrets| Self(secrets.into()))
    }

    /// With a new one by chance in front, and those left out whose tickets are good no more. `None`: there is no chance to be had.
    #[must_use]
    pub fn rotated(&self) -> Option<Self> {
        let mut new = [0; 32];
        rand::fill(&mut new).ok()?;
        let older = self.0.iter().take(Self::OLDER).copied();
        Some(Self(std::iter::once(new).chain(older).collect()))
    }
}

fn secret(line: &str) -> Option<[u8; 32]> {
    let digits = line.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut secret = [0; 32];
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let value = pair
            .iter()
            .try_fold(0, |value, byte| Some(value * 16 + digit(byte)?))?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(secret)
}

/// What a derived key is known by in a ticket.
const NAME: usize = 16;

struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

/// The tickets of one context.
pub(super) struct Tickets {
    keys: Vec<Key>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tickets of {} keys", self.keys.len())
    }
}

/// So many bytes of key.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Tickets {
    /// The tickets of a context: nothing that is said in another opens here. `None` without secrets.
    pub(super) fn new(secrets: &TicketSecrets, context: &[u8]) -> Option<Self> {
        let keys: Option<Vec<Key>> = secrets
            .0
            .iter()
            .map(|secret| derive(secret, context))
            .collect();
        keys.filter(|keys| !keys.is_empty())
            .map(|keys| Self { keys })
    }
}

fn derive(secret: &[u8; 32], context: &[u8]) -> Option<Key> {
    let prk = Salt::new(HKDF_SHA256, b"ringway session tickets 1").extract(secret);
    let info = [context];
    let mut bytes = [0; NAME + 32];
    let okm = prk.expand(&info, Length(bytes.len())).ok()?;
    okm.fill(&mut bytes).ok()?;
    let (name, key) = bytes.split_first_chunk::<NAME>()?;
    Some(Key {
        name: *name,
        key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?),
    })
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    /// The name of the key, a nonce by chance (good for 2³² tickets of a key, which rotates long before), the sealed ticket.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Key { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(name),
            &mut sealed,
        )
        .ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let Key { key, .. } = self.keys.iter().find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key
            .open_in_place(nonce, Aad::from(name), &mut plain)
            .ok()?
            .len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secrets: &[u8], context: &str) -> Tickets {
        let secrets: Vec<_> = secrets.iter().map(|byte| [*byte; 32]).collect();
        Tickets::new(&TicketSecrets(secrets.into()), context.as_bytes()).unwrap()
    }

    #[test]
    fn a_ticket_opens_with_any_secret_of_its_context_alone() {
        let ticket = tickets(&[1], "lax").encrypt(b"session").unwrap();
        for (secrets, context, expect) in [
            (&[1][..], "lax", true),
            (&[2, 1], "lax", true),
            (&[2], "lax", false),
            (&[1], "strict", false),
        ] {
            let opened = tickets(secrets, context).decrypt(&ticket);
            assert_eq!(opened.is_some(), expect, "{secrets:?} {context}");
        }
        assert_eq!(tickets(&[1], "lax").decrypt(&ticket).unwrap(), b"session");
    }

    #[test]
    fn secrets_are_lines_of_hexadecimal_digits() {
        let line = "0f".repeat(32);
        for (text, expect) in [
            (line.clone(), Some(1)),
            (format!("# newest\n{line}\n\n  {line}\r\n"), Some(2)),
            (String::new(), None),
            ("# none\n".to_owned(), None),
            (format!("{line}0"), None),
            (format!("{}g", &line[1..]), None),
            (format!("{line}\nshort"), None),
        ] {
            let secrets = TicketSecrets::parse(text.as_bytes());
            assert_eq!(secrets.map(|secrets| secrets.0.len()), expect, "{text:?}");
        }
        assert_eq!(
            TicketSecrets::parse(line.as_bytes()).unwrap().0[0],
            [15; 32]
        );
    }

    #[test]
    fn a_ticket_cut_or_changed_anywhere_opens_nothing() {
        let tickets = tickets(&[1], "");
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "changed at {at}");
        }
    }
}
