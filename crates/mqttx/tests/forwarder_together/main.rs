//! Messages with QoS 0 that go to their target together.

mod flood;
mod host;
mod likeness;
mod pauses;
mod scripted;
#[path = "../support/bridge.rs"]
mod support;
