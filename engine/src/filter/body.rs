//! What filters do to bodies: each part passes through them in turn, as it comes, and nothing is held but what they hold back.

use std::collections::VecDeque;

use bytes::Bytes;
use ringway_protocols::Fields;

/// A body that a filter cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody(pub &'static str);

/// Changes a body on its way. What it makes of a part should be of the part's order of size: it is all in memory.
pub trait Transform {
    /// A part has come: appends what goes on in its place.
    fn part(&mut self, part: Bytes, out: &mut Vec<Bytes>) -> Result<(), BadBody>;

    /// The body has ended: appends what was held back, and changes the trailers.
    fn end(&mut self, trailers: &mut Option<Fields>, out: &mut Vec<Bytes>) -> Result<(), BadBody> {
        let _ = (trailers, out);
        Ok(())
    }
}

/// The transforms of one body, in order.
pub struct Transforms {
    steps: Vec<Box<dyn Transform>>,
    ready: VecDeque<Bytes>,
    ended: bool,
    trailers: Option<Fields>,
}

impl Transforms {
    /// None, if there is none.
    pub(crate) fn new(steps: Vec<Box<dyn Transform>>) -> Option<Box<Self>> {
        let this = Self {
            steps,
            ready: VecDeque::new(),
            ended: false,
            trailers: None,
        };
        (!this.steps.is_empty()).then(|| Box::new(this))
    }

    /// The next part that is ready.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Whether the body has ended: what is ready is all that is left.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The trailers, after the end.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// A part has come.
    pub(crate) fn push(&mut self, part: Bytes) -> Result<(), BadBody> {
        self.pass(vec![part], 0)
    }

    /// The body has ended.
    pub(crate) fn end(&mut self, mut trailers: Option<Fields>) -> Result<(), BadBody> {
        for at in 0..self.steps.len() {
            let mut left = Vec::new();
            if let Some(step) = self.steps.get_mut(at) {
                step.end(&mut trailers, &mut left)?;
            }
            self.pass(left, at + 1)?;
        }
        self.trailers = trailers;
        self.ended = true;
        Ok(())
    }

    /// A whole body at once.
    pub(crate) fn all(&mut self, body: Bytes) -> Result<Bytes, BadBody> {
        self.push(body)?;
        self.end(None)?;
        Ok(Vec::from(std::mem::take(&mut self.ready)).concat().into())
    }

    fn pass(&mut self, mut parts: Vec<Bytes>, from: usize) -> Result<(), BadBody> {
        for step in self.steps.iter_mut().skip(from) {
            let mut next = Vec::with_capacity(parts.len());
            for part in parts {
                step.part(part, &mut next)?;
            }
            parts = next;
        }
        self.ready
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles each part, and says its name at the end.
    struct Double(&'static str);

    impl Transform for Double {
        fn part(&mut self, part: Bytes, out: &mut Vec<Bytes>) -> Result<(), BadBody> {
            if &part[..] == b"bad" {
                return Err(BadBody("bad"));
            }
            out.extend([part.clone(), part]);
            Ok(())
        }
        fn end(
            &mut self,
            trailers: &mut Option<Fields>,
            out: &mut Vec<Bytes>,
        ) -> Result<(), BadBody> {
            out.push(Bytes::from_static(self.0.as_bytes()));
            trailers.get_or_insert_with(Fields::new).push("by", self.0);
            Ok(())
        }
    }

    #[test]
    fn what_one_leaves_at_the_end_passes_through_the_next() {
        let steps: Vec<Box<dyn Transform>> = vec![Box::new(Double("a")), Box::new(Double("b"))];
        let mut transforms = Transforms::new(steps).expect("two");
        transforms.push(Bytes::from_static(b"x")).expect("a part");
        assert!(transforms.push(Bytes::from_static(b"bad")).is_err());
        transforms.end(None).expect("an end");
        let mut all = Vec::new();
        while let Some(part) = transforms.pop() {
            all.extend_from_slice(&part);
        }
        assert_eq!(all, b"xxxxaab");
        let by: Vec<_> = transforms.trailers().expect("both").all(b"by").collect();
        assert_eq!(by, [b"a", b"b"]);
    }
}
