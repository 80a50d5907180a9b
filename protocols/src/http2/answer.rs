//! What an answer of HTTP/2 has to be so that it may become one of HTTP/1: the codec lets these pass.

use super::request::names;
use crate::http1::{Violation, drop_announced_length, is_forbidden_trailer};
use crate::{FieldId, Fields};

/// Holds the fields of an answer's head, an interim one's too, against the rules, and takes off what would mislead the next recipient.
pub fn answer(status: u16, fields: &mut Fields) -> Result<(), Violation> {
    names(fields)?;
    let length = fields.known(FieldId::ContentLength);
    // As HTTP/1 has it: what announces a body that cannot come is taken for a final answer by somebody.
    if status < 200 && length.is_some_and(|length| length.iter().any(|digit| *digit != b'0')) {
        return Err(Violation::InterimBody);
    }
    drop_announced_length(status, fields);
    Ok(())
}

/// The same of its trailers, of which there may be `most`.
pub fn answer_trailers(fields: &mut Fields, most: usize) -> Result<(), Violation> {
    if fields.len() > most {
        return Err(Violation::TrailersTooMany);
    }
    names(fields)?;
    fields.retain(|field| !is_forbidden_trailer(field.id, field.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, length: &'static str, expect: Result<bool, Violation>) {
        let mut fields = Fields::new();
        fields.push("content-length", length);
        let outcome = answer(status, &mut fields);
        let kept = fields.known(FieldId::ContentLength).is_some();
        assert_eq!(outcome.map(|()| kept), expect, "{status}: {length}");
    }

    #[test]
    fn a_length_is_kept_where_a_body_may_have_one() {
        check(200, "5", Ok(true));
        check(304, "5", Ok(true));
        check(204, "5", Ok(false));
        check(204, "0", Ok(false));
        check(103, "00", Ok(false));
        check(103, "5", Err(Violation::InterimBody));
    }

    #[test]
    fn trailers_frame_and_route_nothing() {
        let mut fields = Fields::new();
        for name in ["content-length", "x-sum", "host"] {
            fields.push(name, "1");
        }
        assert_eq!(
            answer_trailers(&mut fields, 2),
            Err(Violation::TrailersTooMany)
        );
        assert_eq!(answer_trailers(&mut fields, 3), Ok(()));
        let left: Vec<_> = fields.iter().map(|field| field.name.to_vec()).collect();
        assert_eq!(left, [b"x-sum"]);
    }

    #[test]
    fn names_are_tokens() {
        let mut fields = Fields::new();
        fields.push("a\"b", "1");
        assert!(answer(200, &mut fields).is_err());
    }
}
