//! Certificates, keys, lists and keys of tickets that change while the proxy serves.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringway_tests::proxy::run;
use ringway_tests::secure::{BOTH, ONLY_13};
use ringway_tests::{
    Driver, Origin, Proxy, Secure, Until, Wanted, both_drivers, sys, wait_for, wait_until,
};
use rustls::HandshakeKind;
use serde_json::Value;

use crate::tls::{Site, listener, serial_of, take};

both_drivers! {
    a_swapped_pair_is_shown_from_the_next_handshake_on,
    swaps_under_load_fail_no_request,
    a_swapped_link_is_followed,
    a_pair_that_does_not_fit_is_refused_and_others_change,
    a_swapped_authority_is_asked_from_the_next_handshake_on,
    a_file_of_ticket_keys_makes_a_fleet,
    files_that_are_no_longer_named_are_no_longer_watched,
}

/// The numbers of the certificates that `/certs` shows.
fn serials(proxy: &Proxy) -> Vec<String> {
    let text = proxy.admin("GET", "/certs").text();
    let certs: Value = serde_json::from_str(&text).unwrap();
    let certs = certs["certificates"].as_array().unwrap();
    let own = |entry: &Value| {
        let serial = &entry["cert_chain"][0]["serial_number"];
        serial.as_str().unwrap().trim_start_matches('0').to_owned()
    };
    certs.iter().map(own).collect()
}

fn a_swapped_pair_is_shown_from_the_next_handshake_on(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::with(driver)
        .process("cores: 2")
        .start(&site.config("", &origin));
    let addr = proxy.addr("web");
    let mut old = site.client().connect(addr, "localhost");
    assert_eq!(old.get("/").status, 200);
    assert_eq!(serials(&proxy), [serial_of(&mut old)]);
    let expiry = proxy.metric("ringway_certificate_expiry_seconds", &[]);
    assert!(expiry > 1.7e9, "{expiry}");
    for _ in 0..5 {
        let new = site.ca.issue(&["localhost"]);
        new.write(&site.dir, "site");
        wait_until("the new number is shown", || {
            serials(&proxy) == [new.serial.clone()]
        });
        // Sixteen connections come to both cores.
        for _ in 0..16 {
            let mut client = site.client().connect(addr, "localhost");
            assert_eq!(serial_of(&mut client), new.serial);
        }
    }
    assert_eq!(old.get("/").status, 200, "the old connection goes on");
    assert!(proxy.metric("ringway_tls_renewals_total", &[]) >= 5.0);
}

fn swaps_under_load_fail_no_request(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let proxy = Proxy::with(driver)
        .process("cores: 2")
        .start(&site.config("", &origin));
    let (addr, stop) = (proxy.addr("web"), AtomicBool::new(false));
    let load = |keep: bool| {
        let mut served = 0_u64;
        let mut client = site.client().connect(addr, "localhost");
        while !stop.load(Ordering::Relaxed) {
            if !keep {
                client = site.client().connect(addr, "localhost");
            }
            assert_eq!(client.get("/").status, 200);
            served += 1;
        }
        served
    };
    let mut late = 0;
    std::thread::scope(|scope| {
        let until = Until(&stop);
        let loads = [scope.spawn(|| load(true)), scope.spawn(|| load(false))];
        for _ in 0..100 {
            let new = site.ca.issue(&["localhost"]);
            new.write(&site.dir, "site");
            let written = Instant::now();
            wait_until("the new number is shown", || {
                serials(&proxy) == [new.serial.clone()]
            });
            late += usize::from(written.elapsed() > Duration::from_secs(1));
            // From now on every handshake has it, on whichever core.
            for _ in 0..4 {
                let mut client = site.client().connect(addr, "localhost");
                assert_eq!(serial_of(&mut client), new.serial);
            }
        }
        drop(until);
        for load in loads {
            assert!(load.join().expect("no request failed") > 0);
        }
    });
    // But for some that a busy machine was slow at.
    assert!(
        late < 10,
        "{late} of a hundred were shown after more than a second"
    );
}

/// A folder as Kubernetes mounts a secret: the files link through `..data`, which an update swaps.
fn a_swapped_link_is_followed(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let root = site.dir.path();
    let version = |name: &str| {
        let leaf = site.ca.issue(&["localhost"]);
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::write(root.join(name).join("tls.pem"), &leaf.cert).unwrap();
        std::fs::write(root.join(name).join("tls.key"), &leaf.key).unwrap();
        symlink(name, root.join("..new")).unwrap();
        std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
        leaf
    };
    version("..1");
    symlink("..data/tls.pem", root.join("tls.pem")).unwrap();
    symlink("..data/tls.key", root.join("tls.key")).unwrap();
    let keys = format!("tls: {{ certificates: [{}] }}", site.pair("tls"));
    let proxy = Proxy::start(driver, &listener(&keys, &origin));
    for name in ["..2", "..3"] {
        let leaf = version(name);
        wait_until("the new number is shown", || {
            serials(&proxy) == [leaf.serial.clone()]
        });
    }
}

fn a_pair_that_does_not_fit_is_refused_and_others_change(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    site.ca.issue(&["localhost"]).write(&site.dir, "other");
    let mut config = site.config("", &origin);
    let second = format!(
        "  - name: other\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{}] }}\n    routes: [{{ match: {{ prefix: / }}, cluster: up }}]\nclusters:",
        site.pair("other")
    );
    config = config.replacen("clusters:", &second, 1);
    let mut proxy = Proxy::start(driver, &config);
    let before = serials(&proxy);
    // A certificate without its key, and beside it a good pair.
    let lone = site.ca.issue(&["localhost"]);
    std::fs::write(site.dir.join("site.pem"), &lone.cert).unwrap();
    let good = site.ca.issue(&["localhost"]);
    good.write(&site.dir, "other");
    wait_until("the good pair is shown", || {
        serials(&proxy) == [before[0].clone(), good.serial.clone()]
    });
    proxy.wait_log("is not the key of");
    proxy.wait_log("listeners[0].tls.certificates[0].key");
    assert!(proxy.metric("ringway_tls_renewals_failed_total", &[]) >= 1.0);
    let mut client = site.client().connect(proxy.addr("web"), "localhost");
    assert_eq!(
        (client.get("/").status, serial_of(&mut client)),
        (200, before[0].clone())
    );
    std::fs::write(site.dir.join("site.key"), &lone.key).unwrap();
    wait_until("the whole pair is shown", || {
        serials(&proxy)[0] == lone.serial
    });
    // A reload that finds a bad file is refused whole.
    std::fs::write(site.dir.join("site.key"), "nonsense").unwrap();
    let answer = proxy.try_reload(&config.replace("name: up", "name: up, dns_refresh: 29s"));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("has no key"), "{}", answer.text());
    assert!(proxy.ended().is_none());
}

fn a_swapped_authority_is_asked_from_the_next_handshake_on(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let (old, new) = (
        site.ca.issue(&["old.test"]),
        ringway_tests::Authority::new("new"),
    );
    let leaf = new.issue(&["new.test"]);
    let keys = format!(", client_ca: {}", site.file("ca.pem"));
    let proxy = Proxy::start(driver, &site.config(&keys, &origin));
    let served = |own| {
        let secure = Secure::with(&site.ca, BOTH, Some(own));
        let client = secure.try_connect(proxy.addr("web"), "localhost");
        client.is_ok_and(|mut client| {
            client
                .try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .is_ok()
        })
    };
    assert!(served(&old) && !served(&leaf));
    site.dir.write("ca.pem", &new.pem);
    wait_until("the new authority is asked", || served(&leaf));
    assert!(!served(&old));
}

fn a_file_of_ticket_keys_makes_a_fleet(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let (first, second) = ("0a".repeat(32), "0b".repeat(32));
    let file = site.file("tickets");
    site.dir.write("tickets", &format!("{first}\n"));
    let config = site.config("", &origin);
    let start = || {
        Proxy::with(driver)
            .process(&format!("ticket_keys: {file}"))
            .start(&config)
    };
    let (a, b) = (start(), start());
    let secure = Secure::with(&site.ca, ONLY_13, None).resuming();
    let kind = |proxy: &Proxy| {
        let mut client = secure.connect(proxy.addr("web"), "localhost");
        assert_eq!(client.get("/").status, 200);
        client.session().handshake_kind()
    };
    assert_eq!(kind(&a), Some(HandshakeKind::Full));
    assert_eq!(kind(&b), Some(HandshakeKind::Resumed));
    // A new key in front: the old one still opens.
    let renewed = |proxy: &Proxy| proxy.metric("ringway_tls_renewals_total", &[]);
    site.dir.write("tickets", &format!("{second}\n{first}\n"));
    wait_until("both have it", || renewed(&a) == 1.0 && renewed(&b) == 1.0);
    assert_eq!(kind(&a), Some(HandshakeKind::Resumed));
    // Only a third one: nothing opens.
    site.dir.write("tickets", &format!("{}\n", "0c".repeat(32)));
    wait_until("both have it", || renewed(&a) == 2.0 && renewed(&b) == 2.0);
    let full = wait_for("cores take it over", || {
        kind(&b).filter(|kind| *kind == HandshakeKind::Full)
    });
    assert_eq!(full, HandshakeKind::Full);
}

#[test]
fn files_are_checked_before_they_serve() {
    let (site, origin) = (Site::new(), Origin::start("one"));
    let check = |keys: &str| {
        let file = site.dir.write("ringway.yaml", &site.config(keys, &origin));
        run(&["validate", "-c", file.to_str().unwrap()], "")
    };
    assert_eq!(check("").0, 0);
    site.ca
        .make(&Wanted::names(&["localhost"]).expired())
        .write(&site.dir, "site");
    let (code, _, err) = check("");
    assert_eq!(code, 0);
    assert!(err.contains("expired 1 days ago"), "{err}");
    for (file, text, expect) in [
        ("site.key", "nonsense", "has no key"),
        ("site.pem", "nonsense", "has no certificate"),
        (
            "site.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "is no certificate",
        ),
    ] {
        site.ca.issue(&["localhost"]).write(&site.dir, "site");
        site.dir.write(file, text);
        let (code, _, err) = check("");
        assert_eq!(code, 1);
        assert!(
            err.contains(expect) && err.contains(file),
            "{expect}: {err}"
        );
    }
    std::fs::remove_file(site.dir.join("site.pem")).unwrap();
    let (code, _, err) = check(&format!(", client_ca: {}", site.file("none.pem")));
    assert_eq!(code, 1);
    assert_eq!(err.matches("cannot be read").count(), 2, "{err}");
}

/// The kernel has few watches for a user, and each holds descriptors: reloads must not gather them.
fn files_that_are_no_longer_named_are_no_longer_watched(driver: Driver) {
    let (site, origin) = (Site::new(), Origin::start("one"));
    site.ca.issue(&["localhost"]).write(&site.dir, "other");
    let config = |name: &str| {
        let tls = format!("tls: {{ certificates: [{}] }}", site.pair(name));
        listener(&tls, &origin)
    };
    let proxy = Proxy::start(driver, &config("site"));
    let before = sys::open_files(proxy.pid());
    for _ in 0..10 {
        take(&proxy, &config("other"));
        take(&proxy, &config("site"));
    }
    wait_until("the watches have ended", || {
        sys::open_files(proxy.pid()) <= before + 6
    });
}
