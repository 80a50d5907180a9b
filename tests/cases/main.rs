//! The proxy from outside: one test binary, a file for each subject, a name for each fact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod balancing;
mod breakers;
mod cli;
mod connections;
mod crossings;
mod crowds;
mod discovery;
mod documents;
mod examples;
mod faults;
mod filters;
mod forwarding;
mod grpc;
mod grpc_web;
mod health;
mod health_probes;
mod hedging;
mod http2;
mod http2_answers;
mod http2_blocks;
mod http2_connections;
mod http2_ends;
mod http2_frames;
mod http2_heads;
mod http2_limits;
mod http2_malformed;
mod http2_silence;
mod http2_upstream;
mod http2_websocket;
mod http2_windows;
mod interim;
mod limits;
mod logs;
mod placement;
mod proxy_protocol;
mod proxy_protocol_sent;
mod reload;
mod retries;
mod retry_policy;
mod retry_reload;
mod routing;
mod rpc;
mod rpc_bound;
mod rpc_connections;
mod rpc_edges;
mod rpc_hosts;
mod rpc_limits;
mod rpc_memory;
mod rpc_protocols;
mod rpc_thrift;
mod rpc_timeouts;
mod rpc_tls;
mod rpc_triple;
mod selfcheck;
mod sockets;
mod stop;
mod tcp;
mod tcp_sni;
mod tidy;
mod timeouts;
mod timeouts_win;
mod tls;
mod tls_edges;
mod tls_hellos;
mod tls_renewal;
mod tls_tickets;
mod tls_tunnels;
mod tls_upstream;
mod transcode;
mod upgrade;
mod waiting_reload;
