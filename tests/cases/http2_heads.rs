//! Heads of HTTP/2 whose fields and pseudo-fields would mean something else as lines of HTTP/1, and those that look odd and are right.

use ringway_tests::{Driver, both_drivers};

use crate::http2::echo;
use crate::http2_malformed::{AUTHORITY, METHOD, PATH, SCHEME, refused, sent, shown};

both_drivers! {
    no_field_that_means_something_else_in_http1_passes,
    no_pseudo_field_passes_that_is_not_what_it_should_be,
    pseudo_fields_come_once_each_and_first,
    one_host_is_named_and_it_is_one,
    what_is_unusual_and_right_passes_as_it_is,
}

fn no_field_that_means_something_else_in_http1_passes(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let with = |name: &[u8], value: &[u8]| {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, (name, value)]);
    };
    for name in [
        &b""[..],
        b"X",
        b"x-Upper",
        b"x ",
        b" x",
        b"x:",
        b"x:y",
        b"x\0",
        b"x\r",
        b"x\n",
        b"x\ty",
        b"x\r\nx-smuggled",
        b"x: y\r\nx-smuggled",
        b"x\x7f",
        b"x\x80",
        b"x\xc3\xa9",
        b"x(y",
        b"x,y",
        b"x;y",
        b"x=y",
        b"x/y",
        b"x@y",
        b"x[y",
        b"x\\y",
        b"x{y",
        b"x\"y",
        b"content_length",
        b"transfer_encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    ] {
        with(name, b"chunked");
    }
    for value in [
        &b"a\0"[..],
        b"\0",
        b"a\r",
        b"a\n",
        b"a\r\nx-smuggled: 1",
        b"a\nx-smuggled: 1",
        b"a\r\n\r\nGET / HTTP/1.1",
        b" a",
        b"a ",
        b"\ta",
        b"a\t",
        b" ",
        b"a\x01b",
        b"a\x1fb",
        b"a\x7fb",
    ] {
        with(b"x-a", value);
    }
    for te in [
        &b"gzip"[..],
        b"chunked",
        b"trailers, gzip",
        b"trailers, chunked",
        b"",
    ] {
        with(b"te", te);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn no_pseudo_field_passes_that_is_not_what_it_should_be(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let all = [METHOD, SCHEME, PATH, AUTHORITY];
    let other = |at: usize, value: &[u8]| {
        let mut fields = all;
        fields[at].1 = value;
        refused(&proxy, &fields);
    };
    for method in [
        &b""[..],
        b"G ET",
        b"GET ",
        b" GET",
        b"G\0T",
        b"G(T",
        b"GET\r\n",
        b"GET / HTTP/1.1\r\nx: ",
    ] {
        other(0, method);
    }
    for scheme in [
        &b""[..],
        b"ftp",
        b"http:",
        b"http://a/?",
        b"http\r\nx: 1",
        b" http",
        b"ht tp",
    ] {
        other(1, scheme);
    }
    for path in [
        &b""[..],
        b"x",
        b"*",
        b"?q",
        b"/ x",
        b"/x HTTP/1.1\r\nx: 1\r\ny: ",
        b"/\0",
        b"/\t",
        b"/\r",
        b"/\n",
        b"/\x7f",
        b"/\"",
        b"/<",
        b"/x y",
        b"http://other.test/x",
        b"//other.test:x@/ ",
        b"other.test:80",
    ] {
        other(2, path);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn pseudo_fields_come_once_each_and_first(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let all = [METHOD, SCHEME, PATH, AUTHORITY];
    for at in 0..4 {
        // Twice, one way and the other.
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, all[at]]);
        let mut rest = all.to_vec();
        rest.insert(0, all[at]);
        refused(&proxy, &rest);
        // Behind a field.
        let mut late = all.to_vec();
        let own = late.remove(at);
        late.extend([(&b"x"[..], &b"1"[..]), own]);
        refused(&proxy, &late);
        // Not at all.
        let mut none = all.to_vec();
        none.remove(at);
        refused(&proxy, &none);
    }
    for more in [
        (&b":status"[..], &b"200"[..]),
        (b":unknown", b"1"),
        (b":", b"1"),
        (b":Path", b"/y"),
        (b":protocol", b"websocket"),
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, more]);
    }
    for path in [&b"/x#fragment"[..], b"#", b"x", b""] {
        refused(&proxy, &[METHOD, SCHEME, (b":path", path), AUTHORITY]);
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn one_host_is_named_and_it_is_one(driver: Driver) {
    let (origin, proxy) = echo(driver);
    for authority in [
        &b""[..],
        b"a b",
        b"a/x",
        b"a?x",
        b"a#x",
        b"u@a",
        b"u:p@a",
        b"a:b",
        b"a:99999",
        b"a:80:80",
        b"a,b",
        b"[::1",
        b"::1]",
        b"a\r\nx: 1",
        b"a\0b",
        b"a\t",
        b" a",
        b"a\\b",
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, (b":authority", authority)]);
    }
    for host in [
        &b"other.example"[..],
        b"",
        b"test.example:80",
        b"test.example\r\nx: 1",
        b"test.example/",
    ] {
        refused(&proxy, &[METHOD, SCHEME, PATH, AUTHORITY, (b"host", host)]);
    }
    for host in [&b""[..], b"a b", b"a/x", b"u@a", b"a,b"] {
        refused(&proxy, &[METHOD, SCHEME, PATH, (b"host", host)]);
    }
    let two = (&b"host"[..], &b"test.example"[..]);
    refused(&proxy, &[METHOD, SCHEME, PATH, two, two]);
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

fn what_is_unusual_and_right_passes_as_it_is(driver: Driver) {
    let (origin, proxy) = echo(driver);
    let count = std::cell::Cell::new(0);
    let passes = |fields: &[(&[u8], &[u8])]| {
        let answer = sent(&proxy, fields).map(|answer| answer.status);
        assert_eq!(answer, Ok(200), "{}", shown(fields));
        count.set(count.get() + 1);
        origin.nth(count.get())
    };
    for (name, value) in [
        ("x-empty", ""),
        ("x!#$%&'*+-.^`|~9", "1"),
        ("x-a", "a \t b"),
        ("te", "trailers"),
    ] {
        let own = (name.as_bytes(), value.as_bytes());
        let seen = passes(&[METHOD, SCHEME, PATH, AUTHORITY, own]);
        assert_eq!(seen.get(name), Some(value));
    }
    for path in ["/a%20b;p=1?q=/../&r=?", "/x?", "//"] {
        let seen = passes(&[METHOD, SCHEME, (b":path", path.as_bytes()), AUTHORITY]);
        assert_eq!(seen.target.as_str(), path);
    }
    let seen = passes(&[(b":method", b"X-1!"), SCHEME, PATH, AUTHORITY]);
    assert_eq!(seen.method, "X-1!");
    let hosts = [AUTHORITY, (b"host", b"TEST.example")];
    let seen = passes(&[METHOD, SCHEME, PATH, hosts[0], hosts[1]]);
    assert_eq!(seen.get("host"), Some("test.example"));
    let seen = passes(&[METHOD, SCHEME, PATH, (b":authority", b"[::1]:8080")]);
    assert_eq!(seen.get("host"), Some("[::1]:8080"));
    passes(&[AUTHORITY, PATH, SCHEME, METHOD]);
}
