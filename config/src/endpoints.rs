//! A cluster's listed hosts, shared piece by piece between versions of a configuration.
//!
//! To copy a list of 100,000 hosts, or to compare it with the one that it came from, should cost what has changed and not what
//! there is: pieces are counted references, and the same piece is equal without a look into it.

use std::fmt;
use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crate::{Endpoint, EndpointAddress};

/// Hosts in a piece: a change copies one piece and a list of all pieces.
const PIECE: usize = 512;

/// Hosts, in order.
#[derive(Clone, Default)]
pub struct Endpoints {
    pieces: Vec<Arc<Piece>>,
    count: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    endpoints: Box<[Endpoint]>,
    /// None is a name.
    plain: bool,
}

/// The way through a piece.
type Through<'e> = slice::Iter<'e, Endpoint>;

/// The way through all of them.
#[derive(Clone, Debug)]
pub struct Iter<'e> {
    pieces: slice::Iter<'e, Arc<Piece>>,
    here: Through<'e>,
}

impl<'e> Iterator for Iter<'e> {
    type Item = &'e Endpoint;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(endpoint) = self.here.next() {
                return Some(endpoint);
            }
            self.here = through(self.pieces.next()?);
        }
    }
}

/// What two lists do not share.
#[derive(Clone, Debug)]
pub struct Differing<'e> {
    /// How many hosts both begin with.
    pub head: usize,
    /// How many hosts both end with.
    pub tail: usize,
    /// What the one has between.
    pub own: Vec<&'e Endpoint>,
}

impl Piece {
    fn new(endpoints: &[Endpoint]) -> Arc<Self> {
        let is_name = |one: &Endpoint| matches!(one.address, EndpointAddress::Name(..));
        Arc::new(Self {
            plain: !endpoints.iter().any(is_name),
            endpoints: endpoints.into(),
        })
    }
}

fn through(piece: &Arc<Piece>) -> Through<'_> {
    piece.endpoints.iter()
}

impl Endpoints {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            pieces: self.pieces.iter(),
            here: Through::default(),
        }
    }

    /// Whether none is a name, so that each is at one place that is known.
    pub fn are_plain(&self) -> bool {
        self.pieces.iter().all(|piece| piece.plain)
    }

    /// The same with others in the place of these, which share all other pieces with it.
    #[must_use]
    pub fn spliced(&self, range: Range<usize>, with: &[Endpoint]) -> Self {
        let (mut pieces, mut begin) = (Vec::with_capacity(self.pieces.len() + 1), 0);
        let mut with = Some(with);
        for piece in &self.pieces {
            let end = begin + piece.endpoints.len();
            let is_last = end == self.count;
            // What is put in goes to the piece where its range begins; at the very end to the last.
            let begins = range.start < end || is_last;
            let cut =
                begin.max(range.start).min(end) - begin..end.min(range.end).max(begin) - begin;
            let put = if begins { with.take() } else { None };
            if put.is_none() && cut.is_empty() {
                pieces.push(Arc::clone(piece));
            } else {
                let (head, rest) = piece
                    .endpoints
                    .split_at(cut.start.min(piece.endpoints.len()));
                let tail = rest.get(cut.len()..).unwrap_or_default();
                let all = [head, put.unwrap_or_default(), tail].concat();
                pieces.extend(all.chunks(PIECE * 2).map(Piece::new));
            }
            begin = end;
        }
        pieces.extend(with.unwrap_or_default().chunks(PIECE).map(Piece::new));
        Self::of(pieces)
    }

    fn of(pieces: Vec<Arc<Piece>>) -> Self {
        let count = pieces.iter().map(|piece| piece.endpoints.len()).sum();
        Self { pieces, count }
    }

    /// Takes the pieces of `last` that are the same as its own at the same place in the list.
    pub fn share(&mut self, last: &Self) {
        for (own, last) in self.pieces.iter_mut().zip(&last.pieces) {
            if own == last {
                *own = Arc::clone(last);
            }
        }
    }

    /// What is another than in `last`, by which pieces both have: what they do not share may be the same all the same.
    pub fn differing(&self, last: &Self) -> Differing<'_> {
        let same = |(own, last): &(&Arc<Piece>, &Arc<Piece>)| Arc::ptr_eq(own, last);
        let head = self.pieces.iter().zip(&last.pieces).take_while(same);
        let head = head.count();
        let (own, old) = (&self.pieces[head..], &last.pieces[head..]);
        let tail = own.iter().rev().zip(old.iter().rev()).take_while(same);
        let tail = tail.count();
        let count = |pieces: &[Arc<Piece>]| pieces.iter().map(|piece| piece.endpoints.len()).sum();
        let (own, end) = own.split_at(own.len() - tail);
        Differing {
            head: count(&self.pieces[..head]),
            tail: count(end),
            own: own.iter().flat_map(through).collect(),
        }
    }
}

impl PartialEq for Endpoints {
    fn eq(&self, other: &Self) -> bool {
        if self.count != other.count {
            return false;
        }
        let differing = self.differing(other);
        let between = self.count - differing.head - differing.tail;
        let others = other.iter().skip(differing.head).take(between);
        differing.own.iter().copied().eq(others)
    }
}

impl Eq for Endpoints {}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        Self::of(endpoints.chunks(PIECE).map(Piece::new).collect())
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        endpoints.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'e> IntoIterator for &'e Endpoints {
    type Item = &'e Endpoint;
    type IntoIter = Iter<'e>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn endpoint(n: u32) -> Endpoint {
        let [a, b, c, d] = n.to_be_bytes();
        let address = SocketAddr::from(([a, b, c, d], 80));
        Endpoint::new(EndpointAddress::Ip(address))
    }

    fn some(range: Range<u32>) -> Vec<Endpoint> {
        range.map(endpoint).collect()
    }

    #[test]
    fn a_splice_is_that_of_a_plain_list_and_shares_the_rest() {
        let plain = some(0..2_000);
        let shared = Endpoints::from(plain.clone());
        for (range, with) in [
            (0..0, 1),
            (0..1, 0),
            (700..700, 1),
            (700..701, 1),
            (511..513, 2),
            (1_999..2_000, 0),
            (2_000..2_000, 3),
            (100..1_900, 5),
            (0..2_000, 0),
            (512..1_024, 0),
            (5..5, 3_000),
        ] {
            let with = some(9_000..9_000 + with);
            let mut expect = plain.clone();
            expect.splice(range.clone(), with.clone());
            let spliced = shared.spliced(range.clone(), &with);
            assert_eq!(spliced.len(), expect.len(), "{range:?}");
            assert!(spliced.iter().eq(&expect), "{range:?}");
            assert_eq!(spliced, Endpoints::from(expect.clone()), "{range:?}");
            let Differing { head, tail, own } = spliced.differing(&shared);
            assert!(head % PIECE == 0 && head <= range.start, "{range:?}");
            assert!(plain.len() - tail >= range.end, "{range:?}");
            let between = &expect[head..expect.len() - tail];
            assert!(own.into_iter().eq(between), "{range:?}");
        }
        assert!(Endpoints::default().spliced(0..0, &plain).iter().eq(&plain));
    }

    #[test]
    fn what_was_read_anew_is_shared_again() {
        let old = Endpoints::from(some(0..2_000));
        let mut new = Endpoints::from(some(0..2_000));
        assert_eq!(new.differing(&old).own.len(), 2_000);
        new.share(&old);
        let Differing { head, own, .. } = new.differing(&old);
        assert_eq!((head, own.len()), (2_000, 0));
        assert_eq!(new, old);
        assert_ne!(new, new.spliced(3..4, &[]));
        assert_ne!(new, new.spliced(3..4, &some(1..2)));
    }

    #[test]
    fn a_name_makes_the_list_none_of_plain_places() {
        let plain = Endpoints::from(some(0..600));
        assert!(plain.are_plain());
        let name = Endpoint::new(EndpointAddress::Name("a".to_owned(), 80));
        assert!(!plain.spliced(600..600, &[name]).are_plain());
    }
}
