//! Calls of Triple (Dubbo 3) and of gRPC, routed by what they call.

use ringway_tests::{Driver, Http2, Proxy, both_drivers, site};

both_drivers! { calls_over_http_are_routed_by_service_method_version_and_group }

const ROUTES: &str = r#"
- { match: { rpc: { service: com.test.Echo, method: say, version: "2.0.0", group: blue } }, respond: { status: 200, body: "2 blue" } }
- { match: { rpc: { service: com.test.Echo, version: "2.0.0" } }, respond: { status: 200, body: "2" } }
- { match: { rpc: { service: "com.test.*", method: "s*" } }, respond: { status: 200, body: any } }
- { match: { rpc: { group: green } }, respond: { status: 200, body: green } }
- { match: { prefix: / }, respond: { status: 200, body: rest } }
"#;

fn calls_over_http_are_routed_by_service_method_version_and_group(driver: Driver) {
    let config = site(ROUTES, &[]).replace("clusters:\n", "");
    let proxy = Proxy::start(driver, &config);
    let mut client = Http2::connect(proxy.addr("web"));
    let (version, group) = ("tri-service-version", "tri-service-group");
    for (method, path, fields, expect) in [
        (
            "POST",
            "/com.test.Echo/say",
            &[(version, "2.0.0"), (group, "blue")][..],
            "2 blue",
        ),
        (
            "POST",
            "/com.test.Echo/say?x=/",
            &[(version, "2.0.0"), (group, "blue")],
            "2 blue",
        ),
        (
            "POST",
            "/com.test.Echo/say",
            &[(version, "2.0.0"), (group, "red")],
            "2",
        ),
        ("POST", "/com.test.Echo/say", &[(version, "1.0.0")], "any"),
        ("POST", "/com.test.Other/see", &[], "any"),
        ("POST", "/com.test.Other/tell", &[], "rest"),
        ("POST", "/com.test.Other/tell", &[(group, "green")], "green"),
        ("GET", "/com.test.Echo/say", &[(version, "2.0.0")], "rest"),
        ("POST", "/com.test.Echo/say/more", &[], "rest"),
        ("POST", "/com.test.Echo/", &[], "rest"),
        ("POST", "/com.test.Echo", &[], "rest"),
    ] {
        let stream = client.start(method, path, fields, true);
        let answer = client.answer(stream);
        assert_eq!(answer.text(), expect, "{method} {path} {fields:?}");
    }
}
