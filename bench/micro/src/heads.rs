//! Heads: read from bytes, and written back.

use std::hint::black_box;

use bytes::BytesMut;
use ringway_protocols::http1::{HeadLimits, RequestParser, ResponseParser, write_request_head};
use ringway_protocols::message::Method;

use crate::Micro;

pub(crate) const MICROS: &[Micro] = &[
    Micro {
        name: "request_head_tool",
        limit: 2_840,
        run: |times| read_requests(TOOL, times),
    },
    Micro {
        name: "request_head_browser",
        limit: 8_010,
        run: |times| read_requests(BROWSER, times),
    },
    Micro {
        name: "response_head",
        limit: 2_720,
        run: read_responses,
    },
    Micro {
        name: "write_request_head",
        limit: 1_620,
        run: write_requests,
    },
];

/// As a load generator or `curl` asks.
const TOOL: &[u8] = b"GET /bytes/1024 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench-load\r\nAccept: */*\r\n\r\n";

/// As a browser asks.
const BROWSER: &[u8] = b"GET /articles/2024/proxies?page=2&order=newest HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://www.example.org/articles/2024/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\r\n";

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
    Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n";

fn read_requests(head: &[u8], times: u32) {
    let limits = HeadLimits::default();
    let mut input = BytesMut::with_capacity(16 << 10);
    let mut parser = RequestParser::new();
    for _ in 0..times {
        input.extend_from_slice(black_box(head));
        let request = parser.parse(&mut input, &limits);
        debug_assert!(matches!(request, Ok(Some(_))));
        drop(black_box(request));
    }
}

fn read_responses(times: u32) {
    let limits = HeadLimits::default();
    let mut input = BytesMut::with_capacity(16 << 10);
    let mut parser = ResponseParser::new();
    for _ in 0..times {
        input.extend_from_slice(black_box(RESPONSE));
        let response = parser.parse(&mut input, &Method::Get, &limits);
        debug_assert!(matches!(response, Ok(Some(_))));
        drop(black_box(response));
    }
}

fn write_requests(times: u32) {
    let mut input = BytesMut::from(BROWSER);
    let Ok(Some(request)) = RequestParser::new().parse(&mut input, &HeadLimits::default()) else {
        return;
    };
    let head = request.head;
    let mut output = BytesMut::with_capacity(4 << 10);
    for _ in 0..times {
        output.clear();
        let fields = black_box(&head).fields.iter();
        write_request_head(
            &mut output,
            &head.method,
            &head.target,
            &head.authority,
            fields,
        );
        black_box(&output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heads_are_right_ones() {
        // In a test build each parse asserts that it gave a head.
        for micro in MICROS {
            (micro.run)(3);
        }
    }
}
