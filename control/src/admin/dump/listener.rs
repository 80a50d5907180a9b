//! Listeners of a dump.

use ringway_config::{
    AccessLog, Chain, ChainMatch, ClientCertField, ClientHttp2, ClientRpc, Forwarded, HttpLimits,
    ListenAddress, Listener, LogFormat, LogTarget, PortRange, Protocol, ServerName, Service,
    TcpHash, TcpProxy,
};
use serde_json::{Value, json};

use super::cluster::pairs;
use super::routes::cluster_choice;
use super::{each, filter, list, map, proxy_protocol, some, texts, time, tls};

/// A listener.
pub(super) fn listener(listener: &Listener) -> Value {
    let Listener {
        name,
        address,
        proxy_protocol: of_proxy,
        protocol,
        chains,
        limits: of_limits,
        http2: of_http2,
        rpc: of_rpc,
        forwarded: of_forwarded,
        access_logs,
        backlog,
    } = listener;
    let protocol = match protocol {
        Protocol::Http => "http",
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
        Protocol::Rpc(name) => name.as_str(),
    };
    let (address, mode) = match address {
        ListenAddress::Tcp(address) => (address.to_string(), None),
        ListenAddress::Unix { path, mode } => (
            format!("unix:{}", path.display()),
            Some(format!("{mode:o}")),
        ),
    };
    // What would have no effect is an error in a file.
    let requests = chains
        .iter()
        .any(|chain| matches!(chain.service, Service::Routes(_)));
    let hellos = chains.iter().any(Chain::asks_hello);
    let handshakes = chains.iter().any(|chain| chain.tls.is_some());
    let mut limits = limits(of_limits);
    if let Value::Object(limits) = &mut limits {
        limits.retain(|key, _| match key.as_str() {
            "connections" => true,
            "client_hello" | "client_hello_timeout" | "tls_handshakes" => hellos,
            "tls_handshake_timeout" => handshakes,
            _ => requests,
        });
    }
    map([
        ("name", some(name.as_str())),
        ("address", some(address)),
        ("mode", mode.map(Value::from)),
        (
            "proxy_protocol",
            of_proxy.as_ref().map(proxy_protocol::taken),
        ),
        ("protocol", requests.then_some(protocol.into())),
        ("limits", Some(limits)),
        ("http2", requests.then(|| http2(of_http2))),
        ("rpc", requests.then(|| rpc(of_rpc))),
        ("forwarded", requests.then(|| forwarded(of_forwarded))),
        ("access_log", list(each(access_logs, access_log))),
        ("backlog", some(*backlog)),
        ("chains", Some(each(chains, chain))),
    ])
}

fn rpc(rpc: &ClientRpc) -> Value {
    let ClientRpc {
        max_frame,
        in_flight,
        queue,
        memory,
        goaway,
    } = rpc;
    map([
        ("max_frame", some(max_frame.0)),
        ("in_flight", some(*in_flight)),
        ("queue", some(queue.0)),
        ("memory", some(memory.0)),
        ("goaway", goaway.map(Value::from)),
    ])
}

fn chain(chain: &Chain) -> Value {
    let Chain {
        matches,
        tls: of_tls,
        filters,
        service,
    } = chain;
    let ChainMatch {
        source,
        destination,
        destination_ports,
        sni,
        alpn,
    } = matches;
    let asked = map([
        ("source", list(texts(source))),
        ("destination", list(texts(destination))),
        ("destination_ports", list(each(destination_ports, ports))),
        ("sni", list(each(sni, server_name))),
        ("alpn", list(texts(alpn))),
    ]);
    let (table, tcp) = match service {
        Service::Routes(table) => (some(table.as_str()), None),
        Service::Tcp(proxy) => (None, some(tcp_proxy(proxy))),
    };
    map([
        (
            "match",
            (*matches != ChainMatch::default()).then_some(asked),
        ),
        ("tls", of_tls.as_ref().map(tls::server)),
        ("filters", list(each(filters, filter))),
        ("route_table", table),
        ("tcp", tcp),
    ])
}

fn ports(range: &PortRange) -> Value {
    let PortRange { first, last } = range;
    format!("{first}-{last}").into()
}

fn server_name(name: &ServerName) -> Value {
    match name {
        ServerName::Exact(name) => name.as_str().into(),
        ServerName::Suffix(rest) => format!("*{rest}").into(),
    }
}

fn tcp_proxy(proxy: &TcpProxy) -> Value {
    let TcpProxy {
        clusters,
        idle_timeout,
        max_duration,
        connect_attempts,
        hash,
        metadata_match,
    } = proxy;
    let hash = hash.map(|hash| match hash {
        TcpHash::Source => "source".into(),
    });
    map([
        ("cluster", some(cluster_choice(clusters))),
        ("idle_timeout", some(time(*idle_timeout))),
        ("max_duration", max_duration.map(|t| time(t).into())),
        ("connect_attempts", some(*connect_attempts)),
        ("hash", hash),
        (
            "metadata_match",
            (!metadata_match.is_empty()).then(|| pairs(metadata_match)),
        ),
    ])
}

fn limits(limits: &HttpLimits) -> Value {
    let HttpLimits {
        connections,
        request_line,
        field,
        fields_total,
        fields,
        body,
        header_timeout,
        body_rate,
        body_rate_grace,
        idle_timeout,
        request_timeout,
        requests_per_connection,
        drain_body,
        client_hello,
        client_hello_timeout,
        tls_handshake_timeout,
        tls_handshakes,
    } = limits;
    map([
        ("connections", connections.map(Value::from)),
        ("request_line", some(request_line.0)),
        ("field", some(field.0)),
        ("fields_total", some(fields_total.0)),
        ("fields", some(*fields)),
        ("body", body.map(|body| Value::from(body.0))),
        ("header_timeout", some(time(*header_timeout))),
        ("body_rate", some(body_rate.0)),
        ("body_rate_grace", some(time(*body_rate_grace))),
        ("idle_timeout", some(time(*idle_timeout))),
        ("request_timeout", request_timeout.map(|t| time(t).into())),
        (
            "requests_per_connection",
            requests_per_connection.map(Value::from),
        ),
        ("drain_body", some(drain_body.0)),
        ("client_hello", some(client_hello.0)),
        ("client_hello_timeout", some(time(*client_hello_timeout))),
        ("tls_handshake_timeout", some(time(*tls_handshake_timeout))),
        ("tls_handshakes", some(*tls_handshakes)),
    ])
}

fn http2(http2: &ClientHttp2) -> Value {
    let ClientHttp2 {
        concurrent_streams,
        header_list,
        cookie_pieces,
        stream_window,
        stream_window_max,
        connection_window_max,
        send_buffer,
        control_frames,
        empty_frames,
        stream_errors,
        resets_window,
        max_age,
        keep_alive,
        keep_alive_timeout,
        websocket,
    } = http2;
    map([
        ("concurrent_streams", some(*concurrent_streams)),
        ("header_list", some(header_list.0)),
        ("cookie_pieces", some(*cookie_pieces)),
        ("stream_window", some(stream_window.0)),
        ("stream_window_max", some(stream_window_max.0)),
        ("connection_window_max", some(connection_window_max.0)),
        ("send_buffer", some(send_buffer.0)),
        ("control_frames", some(*control_frames)),
        ("empty_frames", some(*empty_frames)),
        ("stream_errors", some(*stream_errors)),
        ("resets_window", some(*resets_window)),
        ("max_age", max_age.map(|age| time(age).into())),
        ("keep_alive", keep_alive.map(|t| time(t).into())),
        ("keep_alive_timeout", some(time(*keep_alive_timeout))),
        ("websocket", some(*websocket)),
    ])
}

fn forwarded(forwarded: &Forwarded) -> Value {
    let Forwarded {
        trusted,
        x_forwarded_for,
        x_forwarded_proto,
        x_forwarded_host,
        x_forwarded_client_cert,
        x_request_id,
        via,
    } = forwarded;
    let client_cert = match x_forwarded_client_cert {
        ClientCertField::Sanitize => "sanitize",
        ClientCertField::Forward => "forward",
        ClientCertField::Set => "set",
        ClientCertField::Append => "append",
    };
    json!({
        "trusted": texts(trusted),
        "x_forwarded_for": x_forwarded_for,
        "x_forwarded_proto": x_forwarded_proto,
        "x_forwarded_host": x_forwarded_host,
        "x_forwarded_client_cert": client_cert,
        "x_request_id": x_request_id,
        // The empty name is how a file says that there is to be no `Via`.
        "via": via.as_deref().unwrap_or(""),
    })
}

fn access_log(log: &AccessLog) -> Value {
    let AccessLog { target, format } = log;
    let mut out = match target {
        LogTarget::Stdout => json!({ "stdout": true }),
        LogTarget::File(path) | LogTarget::Keys(path) => {
            json!({ "file": path.display().to_string() })
        }
    };
    match format {
        LogFormat::Text(line) => out["format"] = line.as_str().into(),
        LogFormat::Json(entries) => {
            let entries = entries.iter().map(|(k, v)| (k.clone(), v.as_str().into()));
            out["json"] = Value::Object(entries.collect());
        }
    }
    out
}
