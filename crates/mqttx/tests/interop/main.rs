//! Sessions, routes and forwarders against real Mosquittos; needs `MQTTX_TEST_MOSQUITTO`.
//!
//! Every claim has a time limit, and waits for events instead of sleeping.

#[macro_use]
mod support;

mod exchange;
mod failover;
mod flow;
mod forward;
mod frozen;
mod many;
mod persistence;
mod refusals;
mod released;
mod request;
mod restart;
mod retained;
mod routes;
mod takeover;
#[cfg(feature = "websocket")]
mod transports;
mod wills;
