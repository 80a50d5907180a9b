//! Tickets: good on every core, and nowhere but where they were given.

use ringway_tests::secure::{BOTH, ONLY_12, ONLY_13};
use ringway_tests::{Authority, Driver, Origin, Proxy, Secure, both_drivers};
use rustls::HandshakeKind;

use crate::tls::{Site, take};

const ASK: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

both_drivers! {
    tickets_bring_clients_back_on_any_core,
    a_ticket_of_a_lax_chain_opens_no_strict_one,
    tickets_of_one_chain_open_no_other_beside_it,
}

fn tickets_bring_clients_back_on_any_core(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::with(driver)
        .process("cores: 2")
        .start(&site.config("", &origin));
    for versions in [ONLY_12, ONLY_13] {
        let secure = Secure::with(&site.ca, versions, None).resuming();
        let mut kinds = Vec::new();
        // Which core takes a connection is chance: with sixteen of them, both do.
        for _ in 0..16 {
            let mut client = secure.connect(proxy.addr("web"), "localhost");
            assert_eq!(client.get("/").status, 200);
            kinds.push(client.session().handshake_kind());
        }
        assert_eq!(kinds.remove(0), Some(HandshakeKind::Full));
        assert!(
            kinds
                .iter()
                .all(|kind| *kind == Some(HandshakeKind::Resumed)),
            "{kinds:?}"
        );
    }
    take(&proxy, &site.config(", tickets: false", &origin));
    let secure = site.client().resuming();
    for _ in 0..3 {
        let mut client = secure.connect(proxy.addr("web"), "localhost");
        assert_eq!(client.get("/").status, 200);
        assert_ne!(
            client.session().handshake_kind(),
            Some(HandshakeKind::Resumed)
        );
    }
}

fn a_ticket_of_a_lax_chain_opens_no_strict_one(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let lax = site.config("", &origin);
    let ca = site.file("ca.pem");
    let optional = site.config(
        &format!(", client_ca: {ca}, client_certificate: optional"),
        &origin,
    );
    let named = site.config(
        &format!(
            ", client_ca: {ca}, client_certificate: optional, client_sans: [{{ suffix: .test }}]"
        ),
        &origin,
    );
    let proxy = Proxy::start(driver, &lax);
    let own = site.ca.issue(&["partner.test"]);
    let secure = Secure::with(&site.ca, BOTH, Some(&own)).resuming();
    let kind = || {
        let mut client = secure.connect(proxy.addr("web"), "localhost");
        assert_eq!(client.get("/").status, 200);
        client.session().handshake_kind()
    };
    kind();
    for config in [&optional, &named, &lax] {
        take(&proxy, config);
        assert_eq!(kind(), Some(HandshakeKind::Full));
        assert_eq!(kind(), Some(HandshakeKind::Resumed));
    }
    // Another authority in the same file is another context too: the ticket's client was let in by the first.
    take(&proxy, &optional);
    kind();
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    let both = format!("{}{}", site.ca.pem, Authority::new("another").pem);
    site.dir.write("ca.pem", &both);
    take(
        &proxy,
        &optional.replace("name: up", "name: up, dns_refresh: 29s"),
    );
    assert_eq!(kind(), Some(HandshakeKind::Full));
}

fn tickets_of_one_chain_open_no_other_beside_it(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let pair = site.pair("site");
    let mut text = site.config("", &origin);
    let strict = format!(
        "  - name: strict\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{pair}], client_ca: {} }}\n    routes: [{{ match: {{ prefix: / }}, cluster: up }}]\nclusters:",
        site.file("ca.pem")
    );
    text = text.replacen("clusters:", &strict, 1);
    let proxy = Proxy::start(driver, &text);
    for versions in [ONLY_12, ONLY_13] {
        let secure = Secure::with(&site.ca, versions, None).resuming();
        for _ in 0..2 {
            let mut client = secure.connect(proxy.addr("web"), "localhost");
            assert_eq!(client.ask(ASK).status, 200);
        }
        // The session is the same to the client; to the strict chain it is nothing, and the client shows no certificate.
        let refused = secure
            .try_connect(proxy.addr("strict"), "localhost")
            .map_or(true, |mut client| client.try_ask(ASK).is_err());
        assert!(refused, "{versions:?}");
        // One that has a certificate is let in, by it and not by the ticket.
        let own = site.ca.issue(&["partner.test"]);
        let secure = Secure::with(&site.ca, versions, Some(&own)).resuming();
        for (listener, expect) in [
            ("web", HandshakeKind::Full),
            ("web", HandshakeKind::Resumed),
            ("strict", HandshakeKind::Full),
            ("strict", HandshakeKind::Resumed),
            ("web", HandshakeKind::Full),
        ] {
            let mut client = secure.connect(proxy.addr(listener), "localhost");
            assert_eq!(client.ask(ASK).status, 200);
            assert_eq!(
                client.session().handshake_kind(),
                Some(expect),
                "{listener}"
            );
        }
    }
}
