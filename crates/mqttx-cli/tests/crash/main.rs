//! `pub` and `sub` with a durable store, killed at random points and started again, against a broker that keeps their session
//! and watches their manners: nothing that was accepted is lost, and nothing with QoS 2 comes twice.
//!
//! A failure names its seed: `MQTTX_TEST_SEED=N` takes the same decisions again. With `MQTTX_TEST_LONG` there are more kills.

mod broker;
mod daemon;
mod damage;
mod inbound;
mod outbound;
mod packet;
mod publish;
mod random;
mod scenario;
mod subscribe;
mod victim;

use scenario::{Scenario, kills};

/// Tests: a name that is a claim, the direction, the version, the QoS, further flags.
macro_rules! crashes {
    ($($name:ident: $direction:ident $version:literal $qos:literal $flags:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let store = mqttx_test::TempDir::new(stringify!($name));
                let url = format!("file:{}", store.path().join("store").display());
                let scenario = Scenario::new(stringify!($name), $version, $qos, &url, &$flags);
                $direction::run(&scenario, kills()).await;
            }
        )*
    };
}

crashes! {
    killed_pub_loses_no_qos_1_message_v5: publish "5" 1 [];
    killed_pub_loses_no_qos_1_message_v311: publish "311" 1 [];
    killed_pub_sends_qos_2_exactly_once_v5: publish "5" 2 [];
    killed_pub_sends_qos_2_exactly_once_v311: publish "311" 2 [];
    killed_pub_sends_qos_2_exactly_once_without_fsync: publish "5" 2 ["--fsync", "os"];
    killed_pub_loses_no_qos_1_message_between_syncs: publish "5" 1 ["--fsync", "interval:20"];
    killed_pub_loses_nothing_when_the_server_forgets_v5: forgetful "5" 1 [];
    killed_pub_loses_nothing_when_the_server_forgets_v311: forgetful "311" 2 [];
    killed_silent_pub_loses_no_qos_1_message: silent "311" 1 [];
    killed_silent_pub_sends_qos_2_exactly_once: silent "5" 2 [];
    killed_sub_prints_every_qos_1_message_v5: subscribe "5" 1 [];
    killed_sub_prints_every_qos_1_message_v311: subscribe "311" 1 [];
    killed_sub_prints_qos_2_exactly_once_v5: subscribe "5" 2 [];
    killed_sub_prints_qos_2_exactly_once_v311: subscribe "311" 2 [];
    killed_daemon_forwards_every_qos_1_message: daemon "311" 1 [];
    killed_daemon_forwards_qos_2_once: daemon "5" 2 [];
    killed_sub_prints_qos_2_exactly_once_without_fsync: subscribe "5" 2 ["--fsync", "os"];
}

/// `publish`, without a report.
mod silent {
    pub(super) async fn run(scenario: &super::Scenario, kills: usize) {
        super::publish::run_silent(scenario, kills).await;
    }
}

/// `publish`, with a server that loses the session now and then.
mod forgetful {
    pub(super) async fn run(scenario: &super::Scenario, kills: usize) {
        super::publish::run_forgetful(scenario, kills).await;
    }
}

#[tokio::test]
async fn damaged_store_with_qos_1_never_loses_silently() {
    damage::run("damaged_store_with_qos_1_never_loses_silently", 1).await;
}

#[tokio::test]
async fn damaged_store_with_qos_2_never_loses_silently() {
    damage::run("damaged_store_with_qos_2_never_loses_silently", 2).await;
}

/// Without a durable store the same kills must be found out, or the tests above prove nothing.
#[tokio::test]
#[should_panic = "repeat it with MQTTX_TEST_SEED"]
async fn forgetting_publisher_is_found_out() {
    let scenario = Scenario::new("forgetting_publisher", "5", 1, "memory", &[]);
    publish::run(&scenario, 25).await;
}

#[tokio::test]
#[should_panic = "repeat it with MQTTX_TEST_SEED"]
async fn forgetting_subscriber_is_found_out() {
    let scenario = Scenario::new("forgetting_subscriber", "5", 2, "memory", &[]);
    subscribe::run(&scenario, 25).await;
}
