//! The streams of a connection: what is known of each, and where it is found.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};

use super::reason::{Broken, By};
use crate::Fields;

/// Data of less than that are gathered, so that no small frame keeps the large buffer that it came in, nor costs a place of its own.
const GATHERED: usize = 2 << 10;
/// How many of the streams that ended last are remembered: what was under way when we reset one comes soon, and is no error.
const REMEMBERED: usize = 64;

/// Where a stream is kept, as long as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(u32);

/// One stream.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Data that came and were not taken.
    pub(super) queue: VecDeque<Bytes>,
    /// The last of it.
    pub(super) tail: BytesMut,
    pub(super) trailers: Option<Fields>,
    /// What the other end may still send.
    pub(super) window: i64,
    /// Bytes of data that came and were not given back.
    pub(super) held: u32,
    /// Bytes of data that have yet to come, where that was said.
    pub(super) expected: Option<u64>,
    /// The other end has sent all.
    pub(super) received: bool,
    /// We have sent all.
    pub(super) sent: bool,
    /// What we may still send.
    pub(super) room: i64,
    pub(super) broken: Option<Broken>,
    /// It was not yet accepted.
    pub(super) is_new: bool,
    /// Who serves it has not let go of it.
    pub(super) is_served: bool,
    /// It waits for room on the connection.
    pub(super) waits: bool,
    /// In which round it was told that there is some, and has not used it.
    pub(super) granted: u64,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

impl Stream {
    /// Data came.
    pub(super) fn push(&mut self, data: Bytes) {
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
        self.queue.push_back(data);
    }

    /// A few data came.
    pub(super) fn gather(&mut self, data: &[u8]) {
        if self.tail.len() >= GATHERED {
            self.queue.push_back(self.tail.split().freeze());
        }
        self.tail.extend_from_slice(data);
    }

    pub(super) fn is_few(len: usize) -> bool {
        len < GATHERED
    }

    /// The next data that came.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let first = self.queue.pop_front();
        first.or_else(|| (!self.tail.is_empty()).then(|| self.tail.split().freeze()))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.broken.is_some() || self.received && self.sent
    }

    pub(super) fn read_by(&mut self, cx: &Context<'_>) {
        register(&mut self.reader, cx);
    }

    pub(super) fn written_by(&mut self, cx: &Context<'_>) {
        register(&mut self.writer, cx);
    }

    pub(super) fn watched_by(&mut self, cx: &Context<'_>) {
        register(&mut self.watcher, cx);
    }

    pub(super) fn wake_reader(&mut self) {
        wake(&mut self.reader);
    }

    pub(super) fn wake_writer(&mut self) {
        wake(&mut self.writer);
    }

    pub(super) fn wake_all(&mut self) {
        for waker in [&mut self.reader, &mut self.writer, &mut self.watcher] {
            wake(waker);
        }
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|own| own.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn wake(place: &mut Option<Waker>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

/// All of a connection's.
#[derive(Default)]
pub(super) struct Streams {
    places: Vec<Option<Box<Stream>>>,
    free: Vec<u32>,
    /// Those that are open, by their numbers, which only rise.
    open: Vec<(u32, Key)>,
    /// The numbers of those that we reset last, and of those that ended last otherwise.
    reset: VecDeque<u32>,
    ended: VecDeque<u32>,
}

impl Streams {
    /// Keeps a stream whose number is higher than all before.
    pub(super) fn insert(&mut self, stream: Box<Stream>) -> Key {
        let id = stream.id;
        let key = match self.free.pop() {
            Some(place) => Key(place),
            None => {
                self.places.push(None);
                Key(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(place) = self.places.get_mut(key.0 as usize) {
            *place = Some(stream);
        }
        self.open.push((id, key));
        key
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut Stream> {
        self.places.get_mut(key.0 as usize)?.as_deref_mut()
    }

    /// The open stream of that number.
    pub(super) fn find(&self, id: u32) -> Option<Key> {
        let at = self.open.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.open.get(at).map(|(_, key)| *key)
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a stream that has ended from the open ones, and forgets it if nobody serves it any more.
    pub(super) fn close(&mut self, key: Key) {
        let Some(stream) = self.get(key) else { return };
        let (id, by, served) = (stream.id, stream.broken, stream.is_served);
        if let Ok(at) = self.open.binary_search_by_key(&id, |(id, _)| *id) {
            self.open.remove(at);
            match by {
                Some(broken) if broken.by != By::Peer => note(&mut self.reset, id),
                Some(_) | None => note(&mut self.ended, id),
            }
        }
        if !served {
            self.forget(key);
        }
    }

    /// Has no place for it any more.
    pub(super) fn forget(&mut self, key: Key) {
        let place = self.places.get_mut(key.0 as usize);
        if place.is_some_and(|place| place.take().is_some()) {
            self.free.push(key.0);
        }
    }

    /// Remembers that we have reset a stream.
    pub(super) fn note_reset(&mut self, id: u32) {
        note(&mut self.reset, id);
    }

    pub(super) fn was_reset(&self, id: u32) -> bool {
        self.reset.contains(&id)
    }

    pub(super) fn has_ended(&self, id: u32) -> bool {
        self.ended.contains(&id)
    }

    /// All that are open.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.open.iter().map(|(_, key)| *key).collect()
    }
}

fn note(list: &mut VecDeque<u32>, id: u32) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(id);
}
