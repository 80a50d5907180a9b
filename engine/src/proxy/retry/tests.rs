//! What is tried again.

use super::*;

fn after(policy: &Policy, method: &Method, made: u32, kind: FaultKind, retry: Retry) -> Verdict {
    let mut tries = Tries::new(policy, method);
    tries.made = made;
    tries.after_fault(&Fault::new(kind).retry(retry))
}

#[test]
fn a_post_is_sent_again_only_if_nothing_of_it_was_sent() {
    let policy = Policy::default();
    assert_eq!(
        after(
            &policy,
            &Method::Post,
            1,
            FaultKind::ConnectRefused,
            Retry::Safe
        ),
        Verdict::Again
    );
    assert_eq!(
        after(
            &policy,
            &Method::Post,
            1,
            FaultKind::Reset,
            Retry::IfIdempotent
        ),
        Verdict::Stop
    );
    assert_eq!(
        after(&policy, &Method::Post, 1, FaultKind::Reset, Retry::IfReused),
        Verdict::Stop
    );
    assert_eq!(
        after(
            &policy,
            &Method::Get,
            1,
            FaultKind::Reset,
            Retry::IfIdempotent
        ),
        Verdict::Again
    );
    let policy = Policy {
        non_idempotent: true,
        ..Policy::default()
    };
    assert_eq!(
        after(
            &policy,
            &Method::Post,
            1,
            FaultKind::Reset,
            Retry::IfIdempotent
        ),
        Verdict::Again
    );
}

#[test]
fn tries_are_counted_and_stale_connections_are_not() {
    let policy = Policy {
        retries: 0,
        ..Policy::default()
    };
    assert_eq!(
        after(
            &policy,
            &Method::Get,
            1,
            FaultKind::ConnectRefused,
            Retry::Safe
        ),
        Verdict::Exhausted
    );
    let mut tries = Tries::new(&policy, &Method::Get);
    tries.made = 1;
    let stale = Fault::new(FaultKind::Reset).retry(Retry::IfReused);
    assert_eq!(tries.after_fault(&stale), Verdict::AgainFresh);
    tries.made = 2;
    assert_eq!(tries.after_fault(&stale), Verdict::Stop);
    assert_eq!(
        tries.after_fault(&Fault::new(FaultKind::Reset).retry(Retry::IfIdempotent)),
        Verdict::Exhausted
    );
}

fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHead {
    let mut head = ResponseHead {
        status,
        reason: bytes::Bytes::new(),
        version: ringway_protocols::message::Version::Http11,
        fields: Fields::new(),
    };
    for (name, value) in fields {
        head.fields.push(*name, *value);
    }
    head
}

#[test]
fn answers_are_tried_again_as_asked() {
    let policy = |on: &[RetryOn]| Policy {
        on: on.to_vec(),
        status_codes: vec![418, 425],
        headers: vec!["x-again".to_owned()],
        ..Policy::default()
    };
    use RetryOn::{
        ConnectFailure, GatewayError, Headers, RefusedStream, Reset, ResetBeforeRequest,
        Retriable4xx, ServerError, StatusCodes,
    };
    for (on, status, expect) in [
        (GatewayError, 503, true),
        (GatewayError, 500, false),
        (ServerError, 501, true),
        (ServerError, 499, false),
        (Retriable4xx, 409, true),
        (Retriable4xx, 404, false),
        (StatusCodes, 425, true),
        (StatusCodes, 426, false),
        (Headers, 200, false),
        (Reset, 503, false),
        (ConnectFailure, 503, false),
        (RefusedStream, 503, false),
        (ResetBeforeRequest, 503, false),
    ] {
        let policy = policy(&[on]);
        let mut tries = Tries::new(&policy, &Method::Get);
        tries.made = 1;
        let again = tries.after_answer(&answer(status, &[])) == Verdict::Again;
        assert_eq!(again, expect, "{on:?} {status}");
        tries.made = 2;
        let used_up = tries.after_answer(&answer(status, &[])) == Verdict::Exhausted;
        assert_eq!(used_up, expect, "{on:?} {status}");
        let mut post = Tries::new(&policy, &Method::Post);
        post.made = 1;
        assert_eq!(post.after_answer(&answer(status, &[])), Verdict::Stop);
    }
    let policy = policy(&[Headers]);
    let mut tries = Tries::new(&policy, &Method::Get);
    tries.made = 1;
    let head = answer(200, &[("X-Again", "1")]);
    assert_eq!(tries.after_answer(&head), Verdict::Again);
}

#[test]
fn what_was_never_taken_up_is_repeated_whatever_the_method() {
    let on = |on: RetryOn| Policy {
        on: vec![on],
        ..Policy::default()
    };
    let kind = FaultKind::Reset;
    for (wanted, safe, refused) in [
        (RetryOn::Reset, Verdict::Again, Verdict::Again),
        (RetryOn::ResetBeforeRequest, Verdict::Again, Verdict::Again),
        (RetryOn::RefusedStream, Verdict::Stop, Verdict::Again),
        (RetryOn::ConnectFailure, Verdict::Stop, Verdict::Stop),
    ] {
        let policy = on(wanted);
        let found = after(&policy, &Method::Post, 1, kind, Retry::Safe);
        assert_eq!(found, safe, "{wanted:?}");
        // What is refused is tried anew whatever is wanted, some times, and then elsewhere only if it is.
        let mut tries = Tries::new(&policy, &Method::Post);
        for made in 1..=UNPROCESSED_MAX + 1 {
            tries.made = made;
            let fault = Fault::new(kind).retry(Retry::Unprocessed);
            let free = made <= UNPROCESSED_MAX;
            let expect = if free { Verdict::AgainFresh } else { refused };
            assert_eq!(tries.after_fault(&fault), expect, "{wanted:?} {made}");
        }
    }
    for wanted in [RetryOn::RefusedStream, RetryOn::ResetBeforeRequest] {
        let found = after(&on(wanted), &Method::Get, 1, kind, Retry::IfIdempotent);
        assert_eq!(found, Verdict::Stop, "it may have been taken up");
    }
}

#[test]
fn an_answer_says_how_long_to_wait() {
    let header = |name: &str, is| ringway_config::WaitHeader {
        name: name.to_owned(),
        is,
    };
    let policy = Policy {
        wait_headers: vec![
            header("retry-after", WaitValue::Seconds),
            header("x-ratelimit-reset", WaitValue::UnixTime),
        ],
        wait_max: Duration::from_secs(60),
        ..Policy::default()
    };
    let tries = Tries::new(&policy, &Method::Get);
    let rng = Rng::new(1);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let wait = |fields: &[(&'static str, &'static str)]| {
        tries.asked_wait(&answer(429, fields).fields, now, &rng)
    };
    let near = |wait: Option<Duration>, seconds: u64| {
        let wait = wait.unwrap().as_secs_f64();
        (seconds as f64..=seconds as f64 * 1.5).contains(&wait)
    };
    assert!(near(wait(&[("Retry-After", "4")]), 4));
    assert!(near(wait(&[("X-RateLimit-Reset", "1030")]), 30));
    assert_eq!(wait(&[("X-RateLimit-Reset", "900")]), None, "it is over");
    assert_eq!(wait(&[("Retry-After", "61")]), None, "too long");
    assert_eq!(wait(&[("Retry-After", "soon")]), None);
    assert_eq!(wait(&[]), None);
}

#[test]
fn the_back_off_doubles_to_tenfold() {
    let policy = Policy {
        back_off: Duration::from_millis(10),
        ..Policy::default()
    };
    let rng = Rng::new(5);
    for (made, bound) in [(1, 10), (2, 20), (4, 80), (5, 100), (90, 100)] {
        let mut tries = Tries::new(&policy, &Method::Get);
        tries.made = made;
        let longest = (0..2000)
            .map(|_| tries.back_off(&rng))
            .max()
            .unwrap_or_default();
        assert!(
            longest <= Duration::from_millis(bound)
                && longest > Duration::from_millis(bound * 9 / 10),
            "{made}: {longest:?}"
        );
    }
}
