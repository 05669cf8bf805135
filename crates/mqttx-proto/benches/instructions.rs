//! What the message path costs in instructions, and subscribing: one scenario, so many times.
//!
//! `cargo xtask instructions` runs this program under callgrind, each scenario with two counts: the difference is what one
//! operation costs, without what comes before. By itself it measures nothing; `cargo bench` lists the scenarios.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails here fails at every run"
)]

#[path = "instructions/codec.rs"]
mod codec;
#[path = "instructions/session.rs"]
mod session;
#[path = "instructions/subscribing.rs"]
mod subscribing;
#[path = "instructions/topics.rs"]
mod topics;

use std::process::ExitCode;

/// Does its operation so many times, after whatever it needs to be in a steady state.
type Run = fn(usize);

/// Every scenario under the name that its count is recorded with.
const SCENARIOS: [(&str, Run); 26] = [
    ("encode-publish", codec::encode_publish),
    ("encode-publish-properties", codec::encode_publish_with_properties),
    ("encode-puback", codec::encode_puback),
    ("decode-publish", codec::decode_publish),
    ("decode-publish-properties", codec::decode_publish_with_properties),
    ("decode-puback", codec::decode_puback),
    ("validate-topic", topics::validate),
    ("match-exact", topics::match_exact),
    ("match-wildcards", topics::match_wildcards),
    ("match-10000-filters", topics::match_many),
    ("publish-qos0", session::publish_qos0),
    ("publish-qos1", session::publish_qos1),
    ("publish-qos2", session::publish_qos2),
    ("publish-qos1-v311", session::publish_qos1_v311),
    ("submit-qos0", session::submit_qos0),
    ("submit-qos1", session::submit_qos1),
    ("submit-qos1-ahead", session::submit_qos1_ahead),
    ("publish-qos1-stored", session::publish_qos1_stored),
    ("publish-qos2-stored", session::publish_qos2_stored),
    ("receive-qos0", session::receive_qos0),
    ("receive-qos0-topics", session::receive_qos0_topics),
    ("receive-qos1", session::receive_qos1),
    ("receive-qos2", session::receive_qos2),
    ("receive-qos2-stored", session::receive_qos2_stored),
    ("subscribe-online", subscribing::online),
    ("subscribe-offline", subscribing::offline),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, times] = arguments.as_slice()
        && let Some((_, run)) = SCENARIOS.iter().find(|(known, _)| known == name)
        && let Ok(times) = times.parse()
    {
        run(times);
        return ExitCode::SUCCESS;
    }
    for (name, _) in SCENARIOS {
        println!("{name}");
    }
    // `cargo bench` calls every bench with `--bench`; anything else is a mistake.
    if arguments.iter().all(|argument| argument.starts_with("--")) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    }
}
