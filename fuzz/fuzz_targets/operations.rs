//! Any sequence of calls of the session, with any bytes from the peer.
//!
//! `cargo +nightly fuzz run operations`; the tests of `mqttx-proto` replay the corpus.

#![no_main]

#[path = "../../crates/mqttx-proto/tests/support/operations.rs"]
mod operations;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| operations::operate(data));
