//! Frames that come in and carry no message: what they change of streams and of the connection.

use super::frame::{self, FRAME, Head, setting};
use super::reason::{Broken, By, Failure, Reason};
use super::receive::{Received, SIZE};
use super::{Codec, FAREWELL, MEASURE, Phase, WINDOW_MAX};

impl Codec {
    pub(super) fn priority(&mut self, head: Head, payload: &[u8]) -> Received {
        if head.id == 0 {
            return Err(Failure::protocol("PRIORITY of no stream"));
        }
        let priority: [u8; 5] = payload.try_into().map_err(|_other| SIZE)?;
        let [a, b, c, d, _weight] = priority;
        // Priorities are taken and not heeded (RFC 9113 §5.3.2).
        if u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1) != head.id {
            return Ok(());
        }
        match self.streams.find(head.id) {
            Some(key) => self.refuse(key, Reason::PROTOCOL_ERROR),
            // What has not begun cannot be reset (RFC 9113 §5.1).
            None if self.is_idle(head.id) => {
                Err(Failure::protocol("a stream that depends on itself"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn reset_by_peer(&mut self, head: Head, payload: &[u8]) -> Received {
        let code: [u8; 4] = payload.try_into().map_err(|_other| SIZE)?;
        if self.is_idle(head.id) {
            return Err(Failure::protocol(
                "RST_STREAM of a stream that has not begun",
            ));
        }
        if let Some(key) = self.streams.find(head.id) {
            let reason = Reason(u32::from_be_bytes(code));
            self.break_off(
                key,
                Broken {
                    reason,
                    by: By::Peer,
                },
            );
            if self.unseen > self.config.unseen_resets {
                let text = "requests are reset before they are looked at";
                return Err(Failure::calm(text));
            }
        }
        Ok(())
    }

    pub(super) fn settings(&mut self, head: Head, payload: &[u8]) -> Received {
        if head.id != 0 {
            return Err(Failure::protocol("SETTINGS of a stream"));
        }
        let (entries, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() || head.has(frame::ACK) && !payload.is_empty() {
            return Err(SIZE);
        }
        if head.has(frame::ACK) {
            self.settled();
            return Ok(());
        }
        for [a, b, value @ ..] in entries {
            self.set(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        self.greeted = true;
        frame::settings_ack(&mut self.out);
        Ok(())
    }

    /// Ours are acknowledged: what has changed of streams' windows holds from here on.
    fn settled(&mut self) {
        let Some(size) = self.asked_window.take() else {
            return;
        };
        let change = i64::from(size) - i64::from(self.window);
        self.window = size;
        for key in self.streams.keys() {
            if let Some(stream) = self.streams.get(key) {
                stream.window += change;
            }
            // Of a smaller window half may be missing already.
            self.refill_stream(key);
        }
    }

    fn set(&mut self, name: u16, value: u32) -> Received {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.resize(value),
            setting::ENABLE_PUSH if value > 1 => {
                return Err(Failure::protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1"));
            }
            setting::INITIAL_WINDOW_SIZE => return self.set_peer_window(value),
            setting::MAX_FRAME_SIZE => {
                let size = value as usize;
                if !(FRAME..1 << 24).contains(&size) {
                    return Err(Failure::protocol("SETTINGS_MAX_FRAME_SIZE is out of range"));
                }
                // We send none that are larger than they have to be allowed: they would keep other streams waiting.
            }
            _ => {}
        }
        Ok(())
    }

    fn set_peer_window(&mut self, size: u32) -> Received {
        const TOO_LARGE: Failure = Failure::new(
            Reason::FLOW_CONTROL_ERROR,
            "a window is larger than there can be",
        );
        if i64::from(size) > WINDOW_MAX {
            return Err(TOO_LARGE);
        }
        let change = i64::from(size) - i64::from(self.peer_window);
        self.peer_window = size;
        for key in self.streams.keys() {
            if let Some(stream) = self.streams.get(key) {
                stream.room += change;
                if stream.room > WINDOW_MAX {
                    return Err(TOO_LARGE);
                }
                if change > 0 {
                    stream.wake_writer();
                }
            }
        }
        Ok(())
    }

    pub(super) fn ping_or_pong(&mut self, head: Head, payload: &[u8]) -> Received {
        if head.id != 0 {
            return Err(Failure::protocol("PING of a stream"));
        }
        let payload: [u8; 8] = payload.try_into().map_err(|_other| SIZE)?;
        if !head.has(frame::ACK) {
            frame::ping(&mut self.out, payload, frame::ACK);
        } else if payload == MEASURE {
            self.pong = true;
        } else if payload == FAREWELL && self.phase == Phase::Warned {
            self.phase = Phase::Leaving(self.latest);
            frame::go_away(&mut self.out, self.latest, Reason::NO_ERROR);
        }
        Ok(())
    }

    pub(super) fn left(&mut self, head: Head, payload: &[u8]) -> Received {
        if head.id != 0 {
            return Err(Failure::protocol("GOAWAY of a stream"));
        }
        if payload.len() < 8 {
            return Err(SIZE);
        }
        self.is_left = true;
        Ok(())
    }

    pub(super) fn window_update(&mut self, head: Head, payload: &[u8]) -> Received {
        let more: [u8; 4] = payload.try_into().map_err(|_other| SIZE)?;
        let more = i64::from(u32::from_be_bytes(more) & (u32::MAX >> 1));
        if head.id == 0 {
            self.room += more;
            if more == 0 {
                return Err(Failure::protocol("WINDOW_UPDATE of nothing"));
            }
            if self.room > WINDOW_MAX {
                let text = "the connection's window is larger than there can be";
                return Err(Failure::new(Reason::FLOW_CONTROL_ERROR, text));
            }
            self.grant();
            return Ok(());
        }
        let Some(key) = self.streams.find(head.id) else {
            return match self.is_idle(head.id) {
                true => Err(Failure::protocol(
                    "WINDOW_UPDATE of a stream that has not begun",
                )),
                false => Ok(()),
            };
        };
        if let Some(stream) = self.streams.get(key) {
            stream.room += more;
            let room = stream.room;
            stream.wake_writer();
            if more == 0 {
                return self.refuse(key, Reason::PROTOCOL_ERROR);
            }
            if room > WINDOW_MAX {
                return self.refuse(key, Reason::FLOW_CONTROL_ERROR);
            }
        }
        Ok(())
    }
}
