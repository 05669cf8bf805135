//! Sessions and forwarders that are asked for something else while they run.

mod forwarders;
mod order;
mod sessions;
mod support;
