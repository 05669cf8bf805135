//! Any bytes, as a stream of packets: no panic, and what was decoded survives encoding.
//!
//! `cargo +nightly fuzz run decode`; the tests of `mqttx-proto` replay the corpus.

#![no_main]

#[path = "../../crates/mqttx-proto/tests/support/exercise.rs"]
mod exercise;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| exercise::exercise(data));
