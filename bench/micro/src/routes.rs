//! Routing: a target made plain, and a route found.

use std::hint::black_box;

use bytes::Bytes;
use ringway_config::{
    Action, Domain, Forward, HeaderOps, Name, PathMatch, PathNormalize, Route, RouteMatch,
    RouteTable, VirtualHost, WeightedCluster,
};
use ringway_engine::route::{Router, normalize};
use ringway_protocols::Fields;
use ringway_protocols::message::{Method, RequestHead, Version};

use crate::Micro;

pub(crate) const MICROS: &[Micro] = &[
    Micro {
        name: "normalize_plain",
        limit: 640,
        run: |times| normalize_paths(b"/articles/2024/proxies?page=2", times),
    },
    Micro {
        name: "normalize_dots",
        limit: 2_660,
        run: |times| normalize_paths(b"/articles/../%7Euser/./proxies?page=2", times),
    },
    Micro {
        name: "find_only_route",
        limit: 380,
        run: |times| find(1, 1, times),
    },
    Micro {
        name: "find_of_100_routes",
        limit: 740,
        run: |times| find(1, 100, times),
    },
    Micro {
        name: "find_of_100_hosts",
        limit: 1_110,
        run: |times| find(100, 10, times),
    },
];

fn normalize_paths(target: &[u8], times: u32) {
    for _ in 0..times {
        let plain = normalize(black_box(target), PathNormalize::Strict, false);
        debug_assert!(plain.is_ok());
        drop(black_box(plain));
    }
}

/// Finds the last route of the last host.
fn find(hosts: usize, routes: usize, times: u32) {
    let Ok(router) = Router::build(&table(hosts, routes)) else {
        return;
    };
    let router = router.for_core();
    let head = RequestHead {
        method: Method::Get,
        target: Bytes::from(format!("/service-{}/items/17?page=2", routes - 1)),
        authority: Bytes::from(format!("www{}.example.org", hosts - 1)),
        version: Version::Http11,
        fields: Fields::new(),
    };
    for _ in 0..times {
        let found = router.find(black_box(&head));
        debug_assert!(found.is_some_and(|found| found.route.index as usize == hosts * routes - 1));
        black_box(found.map(|found| found.route.index));
    }
}

/// A table of so many virtual hosts, each with so many prefixes; the only host of a table takes any name.
fn table(hosts: usize, routes: usize) -> RouteTable {
    let host = |at: usize| VirtualHost {
        name: Name::new(&format!("host-{at}")),
        domains: vec![match hosts {
            1 => Domain::Any,
            _ => Domain::Exact(format!("www{at}.example.org")),
        }],
        routes: (0..routes).map(route).collect(),
    };
    RouteTable {
        name: Name::new("bench"),
        path_normalize: PathNormalize::Strict,
        merge_slashes: false,
        virtual_hosts: (0..hosts).map(host).collect(),
    }
}

fn route(at: usize) -> Route {
    let cluster = WeightedCluster {
        cluster: Name::new("origin"),
        weight: 1,
    };
    Route {
        name: None,
        matches: RouteMatch {
            path: PathMatch::Prefix(format!("/service-{at}/")),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            rpc: Vec::new(),
        },
        action: Action::Forward(Box::new(Forward {
            clusters: vec![cluster],
            ..Forward::default()
        })),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        filters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_route_is_found() {
        // In a test build each repetition asserts it.
        for micro in MICROS {
            (micro.run)(3);
        }
    }
}
