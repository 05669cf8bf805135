//! Any records of a store, in any order.
//!
//! `cargo +nightly fuzz run records`; the tests of `mqttx-proto` replay the corpus.

#![no_main]

#[path = "../../crates/mqttx-proto/tests/support/restored.rs"]
mod restored;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = mqttx_proto::Record::decode(data);
    restored::live_with(data);
});
