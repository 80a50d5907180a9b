//! Which routes a path may meet, in order, without looking at the others.
//!
//! A radix trie of the paths' literal beginnings. A walk ends at the deepest node that the path reaches; the routes that
//! hang there and above are the candidates, and the walk up merges their sorted lists. A route that needs the whole path
//! hangs apart, so that a longer path does not meet it. Each candidate is then asked in full, so the trie only has to be
//! complete, never exact.

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;

/// How far a route's literal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The path ends where the literal does.
    Whole,
    /// The path may go on.
    Onward,
}

#[derive(Debug, Default)]
struct Node {
    label: Box<[u8]>,
    /// First byte of the child's label, and the child; sorted.
    children: Vec<(u8, u32)>,
    whole: Vec<u32>,
    onward: Vec<u32>,
    /// The nearest node above with something in `onward`, or `NONE`.
    up: u32,
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

impl Trie {
    /// From literals in the order of their routes.
    pub(super) fn build<'a>(routes: impl IntoIterator<Item = (u32, &'a [u8], Reach)>) -> Self {
        let mut trie = Self {
            nodes: vec![Node::default()],
        };
        for (route, literal, reach) in routes {
            let at = trie.node_of(literal);
            let node = &mut trie.nodes[at as usize];
            match reach {
                Reach::Whole => node.whole.push(route),
                Reach::Onward => node.onward.push(route),
            }
        }
        trie.link_up();
        trie
    }

    /// The routes that may take the path, in order.
    pub(super) fn candidates(&self, path: &[u8]) -> Candidates<'_> {
        let mut at = ROOT;
        let mut rest = path;
        while let Some(child) = self.child(at, rest) {
            let Some(after) = rest.strip_prefix(&*self.nodes[child as usize].label) else {
                break;
            };
            (at, rest) = (child, after);
        }
        let whole = if rest.is_empty() {
            self.nodes[at as usize].whole.as_slice()
        } else {
            &[]
        };
        Candidates {
            trie: self,
            deepest: at,
            whole,
            from: 0,
        }
    }

    fn child(&self, at: u32, rest: &[u8]) -> Option<u32> {
        let first = rest.first()?;
        let children = &self.nodes[at as usize].children;
        let found = children
            .binary_search_by_key(first, |(byte, _)| *byte)
            .ok()?;
        Some(children[found].1)
    }

    /// The node at which a literal ends, made if need be.
    fn node_of(&mut self, literal: &[u8]) -> u32 {
        let mut at = ROOT;
        let mut rest = literal;
        while !rest.is_empty() {
            let Some(child) = self.child(at, rest) else {
                return self.add_leaf(at, rest);
            };
            let label = &self.nodes[child as usize].label;
            let common = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < label.len() {
                self.split(child, common);
            }
            (at, rest) = (child, &rest[common..]);
        }
        at
    }

    fn add_leaf(&mut self, parent: u32, label: &[u8]) -> u32 {
        let leaf = self.nodes.len() as u32;
        self.nodes.push(Node {
            label: label.into(),
            ..Node::default()
        });
        let children = &mut self.nodes[parent as usize].children;
        let place = children.partition_point(|(byte, _)| *byte < label[0]);
        children.insert(place, (label[0], leaf));
        leaf
    }

    /// Cuts a label in two: the node keeps the first part, a new child takes the rest with all that hung there.
    fn split(&mut self, node: u32, at: usize) {
        let lower = self.nodes.len() as u32;
        let upper = &mut self.nodes[node as usize];
        let rest: Box<[u8]> = upper.label[at..].into();
        upper.label = upper.label[..at].into();
        let first = rest[0];
        let child = Node {
            label: rest,
            children: std::mem::replace(&mut upper.children, vec![(first, lower)]),
            whole: std::mem::take(&mut upper.whole),
            onward: std::mem::take(&mut upper.onward),
            up: NONE,
        };
        self.nodes.push(child);
    }

    fn link_up(&mut self) {
        let mut open = vec![(ROOT, NONE)];
        while let Some((at, up)) = open.pop() {
            let node = &mut self.nodes[at as usize];
            node.up = up;
            let above = if node.onward.is_empty() { up } else { at };
            open.extend(node.children.iter().map(|(_, child)| (*child, above)));
        }
    }
}

pub(super) struct Candidates<'a> {
    trie: &'a Trie,
    deepest: u32,
    whole: &'a [u32],
    from: u32,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut best = first_from(self.whole, self.from).unwrap_or(NONE);
        let mut at = self.deepest;
        while at != NONE {
            let node = &self.trie.nodes[at as usize];
            best = best.min(first_from(&node.onward, self.from).unwrap_or(NONE));
            at = node.up;
        }
        if best == NONE {
            return None;
        }
        self.from = best + 1;
        Some(best)
    }
}

fn first_from(sorted: &[u32], from: u32) -> Option<u32> {
    sorted
        .get(sorted.partition_point(|route| *route < from))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn candidates_come_in_order_and_miss_none() {
        let rng = Rng::new(5);
        for _ in 0..2_000 {
            let text = |most| -> Vec<u8> {
                (0..rng.below(most))
                    .map(|_| b"ab/"[rng.below(3) as usize])
                    .collect()
            };
            let literals: Vec<(Vec<u8>, Reach)> = (0..rng.below(20))
                .map(|_| {
                    (
                        text(6),
                        if rng.below(2) == 0 {
                            Reach::Whole
                        } else {
                            Reach::Onward
                        },
                    )
                })
                .collect();
            let trie = Trie::build(
                (0..)
                    .zip(&literals)
                    .map(|(n, (text, reach))| (n, &**text, *reach)),
            );
            let path = text(8);
            let expect: Vec<u32> = (0..)
                .zip(&literals)
                .filter(|(_, (text, reach))| match reach {
                    Reach::Whole => *text == path,
                    Reach::Onward => path.starts_with(text),
                })
                .map(|(n, _)| n)
                .collect();
            assert_eq!(
                trie.candidates(&path).collect::<Vec<_>>(),
                expect,
                "{literals:?} {path:?}"
            );
        }
    }
}
