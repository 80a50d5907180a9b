//! From what the file says to the model: short forms become long ones, and what one value alone cannot tell is checked.

mod action;
mod address;
mod cluster;
mod health;
mod keys;
mod listener;
mod matches;
mod proxy_protocol;
mod route;
mod shadow;
mod subsets;
mod tcp;
mod tls;

use std::collections::HashMap;

use super::wire::{Cx, LogStyle, ProcessRecord, Root, Want, Wanted};
use crate::{Admin, AdminAddress, Balance, Cluster, Config, Dns, Log, Name, Process};

/// A part of the model, and the path of what it was made from.
pub(crate) struct Placed<T> {
    value: T,
    at: String,
}

/// Makes the model.
pub(crate) fn config(root: Root, cx: &mut Cx) -> Config {
    let mut tables = route::tables(root.route_tables, cx);
    let listeners = listener::listeners(root.listeners.0, &mut tables, cx);
    let clusters = cluster::clusters(root.clusters, cx);
    let admin = root.admin.map(|record| Admin {
        address: record.address,
    });
    address::check(&listeners, admin.as_ref(), cx);
    wanted(&clusters, cx);
    if let Some(Admin {
        address: AdminAddress::Tcp(address),
    }) = &admin
        && !address.ip().to_canonical().is_loopback()
    {
        let message = "anyone who reaches this address can stop the proxy: write a loopback address such as `127.0.0.1:9901`, or guard it by other means";
        cx.warning("admin.address", message);
    }
    Config {
        process: process(root.process),
        listeners: listeners.into_iter().map(|one| one.value).collect(),
        route_tables: tables,
        clusters,
        admin,
    }
}

/// Notes keys of routes, and of `tcp`, that no cluster of theirs heeds.
fn wanted(clusters: &[Cluster], cx: &mut Cx) {
    let clusters: HashMap<&Name, &Cluster> = clusters.iter().map(|one| (&one.name, one)).collect();
    for Wanted { at, of, want } in std::mem::take(&mut cx.wants) {
        let mut of = of.iter().filter_map(|name| clusters.get(name)).peekable();
        if of.peek().is_none() || of.any(|cluster| heeds(cluster, want)) {
            continue;
        }
        let message = match want {
            Want::Hash => {
                "no cluster here hashes: write `balance: ring_hash` or `maglev` there, or leave `hash` out"
            }
            Want::Subsets => {
                "no cluster here has `subsets`, so that every host is taken: write them there, or leave `metadata_match` out"
            }
        };
        cx.warning(&at, message);
    }
}

fn heeds(cluster: &Cluster, want: Want) -> bool {
    match want {
        Want::Hash => matches!(
            cluster.balance,
            Balance::RingHash { .. } | Balance::Maglev { .. }
        ),
        Want::Subsets => cluster.subsets.is_some(),
    }
}

fn process(record: ProcessRecord) -> Process {
    Process {
        cores: record.cores.map(|cores| cores.u16()),
        io_driver: record.io_driver,
        drain_delay: record.drain_delay,
        drain_timeout: record.drain_timeout,
        max_connections: record.max_connections.map(|limit| limit.0),
        splice_pipes: record.splice_pipes.u32(),
        ticket_keys: record.ticket_keys,
        dns: Dns {
            servers: record.dns.servers.0.iter().map(|server| server.0).collect(),
            min_ttl: record.dns.min_ttl.0,
            timeout: record.dns.timeout.0,
        },
        log: Log {
            level: record.log.level,
            json: record.log.format == LogStyle::Json,
        },
    }
}
