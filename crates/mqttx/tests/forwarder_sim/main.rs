//! Forwarders over faulty servers, in virtual time: stories that a seed tells.
//!
//! One server has messages for the forwarder and keeps its session, others take them or refuse them. Connections are cut, servers
//! go down, fall silent or are slow, rules change, the forwarder is paused, stopped and removed, sessions of targets are removed
//! and added again, and the process dies. Whatever happens, a message is acknowledged to its server only once a target has
//! acknowledged it, or the dead letters have, and in the end all of them are. A failure prints its seed;
//! `MQTTX_TEST_SEED=n cargo test -p mqttx --test forwarder_sim` plays it again, and `MQTTX_TEST_LONG` tells thousands.

mod server;
mod story;

use story::{Kind, tell};

/// Stories of each kind in an ordinary test.
const STORIES: u64 = 40;
const MANY: u64 = 3000;

fn tell_all(kind: Kind) {
    if let Ok(seed) = std::env::var("MQTTX_TEST_SEED") {
        return tell(seed.parse().expect("a number"), kind);
    }
    let stories = if std::env::var_os("MQTTX_TEST_LONG").is_some() { MANY } else { STORIES };
    (1..=stories).for_each(|seed| tell(seed, kind));
}

#[test]
fn one_target_gets_everything_in_order_and_qos_2_once() {
    tell_all(Kind::Steady);
}

#[test]
fn whatever_is_removed_or_gives_way_nothing_is_lost() {
    tell_all(Kind::Wild);
}
