//! What the request path must not do: allocate to find a route or to look at a path that is plain already.
//!
//! A binary of its own, since it counts what the whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use ringway_config::{
    Action, Domain, HeaderOps, Name, PathMatch, PathNormalize, Pattern, Respond, Route, RouteMatch,
    RouteTable, ValueMatch, ValueTest, VirtualHost,
};
use ringway_engine::route::Router;
use ringway_protocols::Fields;
use ringway_protocols::message::{Method, RequestHead, Version};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came; counting touches a `Cell` of this thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the system's too.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn route(path: PathMatch, query: Vec<ValueMatch>) -> Route {
    Route {
        name: None,
        matches: RouteMatch {
            path,
            methods: vec!["GET".to_owned()],
            headers: Vec::new(),
            query,
            rpc: Vec::new(),
        },
        action: Action::Respond(Respond {
            status: 200,
            body: String::new(),
            content_type: None,
        }),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        filters: Vec::new(),
    }
}

#[test]
fn finding_a_route_allocates_nothing() {
    let query = ValueMatch {
        name: "q".to_owned(),
        test: ValueTest::Prefix("a b".to_owned()),
        invert: false,
    };
    let table = RouteTable {
        name: Name::new("t"),
        path_normalize: PathNormalize::Strict,
        merge_slashes: true,
        virtual_hosts: vec![VirtualHost {
            name: Name::new("v"),
            domains: vec![
                Domain::Exact("x.test".to_owned()),
                Domain::Suffix(".example.test".to_owned()),
            ],
            routes: vec![
                route(PathMatch::Exact("/a".to_owned()), Vec::new()),
                route(
                    PathMatch::Regex(Pattern("/user/[0-9]+/.*".to_owned())),
                    Vec::new(),
                ),
                route(PathMatch::Prefix("/".to_owned()), vec![query]),
            ],
        }],
    };
    let router = Router::build(&table).expect("a sound table").for_core();
    let head = |target: &'static str| RequestHead {
        method: Method::Get,
        target: Bytes::from_static(target.as_bytes()),
        authority: Bytes::from_static(b"WWW.Example.test:8080"),
        version: Version::Http11,
        fields: Fields::new(),
    };
    for (target, expect) in [
        ("/a?x", 0),
        ("/user/12/%20x", 1),
        ("/other/.x/..y?p=1&q=a%20b+c", 2),
    ] {
        let head = head(target);
        // The first search fills the regular expression's cache, once per core.
        assert_eq!(
            router.find(&head).map(|found| found.route.index),
            Some(expect)
        );
        let before = COUNT.get();
        let changed = router
            .normalize(&head.target)
            .is_ok_and(|target| target.is_some());
        let found = router.find(&head).map(|found| found.route.index);
        let after = COUNT.get();
        assert_eq!(
            (found, changed, after - before),
            (Some(expect), false, 0),
            "{target}"
        );
    }
}
