//! No two listeners on one address, nor the admin interface on a listener's.

use std::net::{IpAddr, SocketAddr};

use super::Placed;
use crate::native::wire::Cx;
use crate::{Admin, AdminAddress, ListenAddress, Listener};

/// Something that listens: its name for messages, its path, its address.
struct Taken {
    who: String,
    path: String,
    address: ListenAddress,
}

/// Notes every address that an earlier one takes.
pub(crate) fn check(listeners: &[Placed<Listener>], admin: Option<&Admin>, cx: &mut Cx) {
    let mut taken: Vec<Taken> = Vec::with_capacity(listeners.len() + 1);
    let all = listeners
        .iter()
        .map(|listener| Taken {
            who: listener.at.clone(),
            path: format!("{}.address", listener.at),
            address: listener.value.address.clone(),
        })
        .chain(admin.map(|admin| Taken {
            who: "the admin interface".to_owned(),
            path: "admin.address".to_owned(),
            address: match &admin.address {
                AdminAddress::Tcp(address) => ListenAddress::Tcp(*address),
                AdminAddress::Unix(path) => ListenAddress::Unix {
                    path: path.clone(),
                    mode: 0,
                },
            },
        }));
    for one in all {
        if let Some(first) = taken
            .iter()
            .find(|first| clash(&first.address, &one.address))
        {
            let message = format!(
                "{} listens on this address already: write another address or port",
                first.who
            );
            cx.problem(&one.path, message);
        }
        taken.push(one);
    }
}

/// Whether one of two addresses takes connections of the other.
fn clash(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => same_socket(*a, *b),
        (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
        (ListenAddress::Tcp(_), ListenAddress::Unix { .. })
        | (ListenAddress::Unix { .. }, ListenAddress::Tcp(_)) => false,
    }
}

fn same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    let (here, there) = (a.ip().to_canonical(), b.ip().to_canonical());
    let covers = |a: IpAddr, b: IpAddr| match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified(),
        // `[::]` is bound for IPv6 alone, so that both may be listened on.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    a.port() != 0 && a.port() == b.port() && (covers(here, there) || covers(there, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_port_of_all_and_of_one_address_clash() {
        for (a, b, expect) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "0.0.0.0:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            let (x, y) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(same_socket(x, y), expect, "{a} {b}");
        }
    }
}
