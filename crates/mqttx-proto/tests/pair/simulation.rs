//! Random stories: publishing both ways at all levels while links are cut, processes crash, servers forget and stores lag.

use std::collections::BTreeMap;
use std::time::Duration;

use mqttx_proto::{Authentication, Config, OutboxLimits, Phase, Priority, QoS, Version};

use super::model::Client;
use super::rng::Rng;
use super::server::{METHOD, Server};

/// What may go wrong in a story.
#[derive(Clone, Copy, Debug)]
struct Faults {
    cut_percent: usize,
    crashes: bool,
    forgetful_server: bool,
}

struct Story {
    client: Client,
    server: Server,
    rng: Rng,
    faults: Faults,
    sent: BTreeMap<u32, QoS>,
    down: BTreeMap<u32, QoS>,
    next: u32,
    server_forgot: bool,
    prioritized: bool,
    trouble: bool,
}

impl Story {
    fn new(seed: u64, version: Version, faults: Faults) -> Self {
        let mut rng = Rng::new(seed);
        let mut config = Config::new(version);
        config.client_id = "pair".to_owned();
        config.clean_start = false;
        if version == Version::V5 && rng.chance(30) {
            config.authentication = Some(Authentication { method: METHOD.into(), data: None });
        }
        config.journal = faults.crashes;
        config.max_in_flight = if rng.chance(50) { 1 + rng.below(4) as u16 } else { u16::MAX };
        config.outbox.messages = 1 + rng.below(40);
        config.write_buffer_limit = if rng.chance(30) { 40 } else { 1 << 20 };
        config.subscribe_batch = 1 + rng.below(3);
        let receive_maximum = if rng.chance(50) { 1 + rng.below(5) as u16 } else { u16::MAX };
        let spills = faults.crashes && rng.chance(50);
        config.spill = spills.then(|| OutboxLimits { messages: 1 + rng.below(6), bytes: 500 });
        let mut client = Client::new(config);
        client.store.spills = spills;
        client.subscribe(&["down", "a/+", "b/#"]);
        Self {
            client,
            server: Server::new(version, receive_maximum),
            rng,
            faults,
            sent: BTreeMap::new(),
            down: BTreeMap::new(),
            next: 1,
            server_forgot: false,
            prioritized: false,
            trouble: true,
        }
    }

    fn step(&mut self) {
        let now_and_then = self.rng.below(100);
        match now_and_then {
            0..10 => self.publish_up(),
            10..20 => self.publish_down(),
            20..40 => self.client.write(&mut self.rng),
            40..60 => self.exchange(),
            60..70 => self.server.answer(self.rng.below(4)),
            70..80 => self.client.work(&mut self.rng),
            80..95 => self.client.store(&mut self.rng),
            _ => self.client.advance(Duration::from_millis(self.rng.below(2_000) as u64)),
        }
        self.client.collect();
        if self.rng.chance(30) {
            // One that is not over in time ends the connection.
            let again = self.faults.cut_percent > 0 && self.rng.chance(2);
            self.client.authenticate(again);
            self.client.collect();
        }
        if self.client.closing {
            self.cut();
        }
        if self.client.session.phase() == Phase::Offline && self.rng.chance(30) {
            self.client.connect();
        }
        if self.trouble && self.rng.below(1000) < self.faults.cut_percent * 10 {
            self.misfortune();
        }
    }

    fn misfortune(&mut self) {
        if self.faults.crashes && self.rng.chance(40) {
            self.client.store(&mut self.rng);
            self.client.crash(&mut self.rng);
            self.server.disconnected();
        } else {
            self.cut();
        }
        if self.faults.forgetful_server && self.rng.chance(20) {
            self.server.forget();
            self.server_forgot = true;
        }
    }

    fn cut(&mut self) {
        self.client.cut();
        self.server.disconnected();
    }

    /// Bytes cross in both directions, in pieces of any size.
    fn exchange(&mut self) {
        let up = self.rng.below(self.client.to_server.len() + 1);
        let bytes: Vec<u8> = self.client.to_server.drain(..up).collect();
        self.server.input(&bytes);
        let output = self.server.take_output();
        self.client.to_client.extend(output);
        let down = self.rng.below(self.client.to_client.len() + 1);
        if down > 0 {
            self.client.read(down);
        }
    }

    fn publish_up(&mut self) {
        let qos = if self.rng.chance(50) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let number = self.next;
        let priority = if self.rng.chance(80) { 0 } else { self.rng.below(4) as u8 };
        self.prioritized |= priority > 0;
        if self.client.publish(number, qos, Priority::new(priority).unwrap()) {
            self.sent.insert(number, qos);
            self.next += 1;
        }
    }

    fn publish_down(&mut self) {
        let qos = if self.rng.chance(50) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let number = self.down.len() as u32 + 1;
        self.server.publish(number, qos);
        self.down.insert(number, qos);
    }

    /// Peace: everything that was accepted comes to its end.
    fn settle(&mut self) {
        self.trouble = false;
        for _ in 0..1_000_000 {
            let idle = self.client.session.is_drained()
                && !self.client.has_output()
                && !self.client.is_working()
                && !self.client.store_is_behind()
                && !self.server.owes_answers()
                && self.server.pending_downlink() == 0
                && self.client.to_server.is_empty()
                && self.client.to_client.is_empty()
                && self.client.session.phase() == Phase::Online;
            if idle {
                return;
            }
            let choice = self.rng.below(6);
            match choice {
                0 => self.client.write(&mut self.rng),
                1 | 2 => self.exchange(),
                3 => self.server.answer(self.rng.below(4)),
                4 => self.client.work(&mut self.rng),
                _ => self.client.store(&mut self.rng),
            }
            self.client.collect();
            self.client.authenticate(false);
            self.client.collect();
            if self.client.closing {
                self.cut();
            }
            if self.client.session.phase() == Phase::Offline {
                self.client.connect();
            }
        }
        panic!("never comes to rest: {:#?}\n{:#?}", self.client, self.server);
    }

    fn check(&self) {
        for number in &self.client.accepted {
            let times = self.server.received.get(number).copied().unwrap_or(0);
            assert!(times >= 1, "message {number} was accepted and is lost");
            if self.sent[number] == QoS::ExactlyOnce && !self.server_forgot {
                assert_eq!(times, 1, "QoS 2 message {number} arrived more than once");
            }
        }
        for (number, qos) in &self.down {
            let times = self.client.delivered.get(number).copied().unwrap_or(0);
            assert!(times >= 1, "message {number} of the server is lost");
            let once = *qos == QoS::ExactlyOnce
                && !self.server_forgot
                && !self.client.excused.contains(number);
            assert!(!once || times == 1, "QoS 2 message {number} was delivered {times} times");
        }
        assert_eq!(self.server.subscribed.len(), 3, "subscriptions are gone");
        if self.faults.cut_percent == 0 && !self.prioritized {
            assert!(self.server.order.is_sorted(), "out of order without a fault");
        }
    }
}

fn tell(seed: u64, version: Version, faults: Faults, steps: usize) {
    let mut story = Story::new(seed, version, faults);
    for _ in 0..steps {
        story.step();
    }
    story.settle();
    story.check();
}

fn tell_many(faults: Faults, stories: u64, steps: usize) {
    if let Some(seed) = std::env::var("PAIR_SEED").ok().and_then(|s| s.parse().ok()) {
        tell(seed, Version::V5, faults, steps);
        tell(seed, Version::V311, faults, steps);
        return;
    }
    for seed in 1..=stories {
        for version in [Version::V311, Version::V5] {
            let result = std::panic::catch_unwind(|| tell(seed, version, faults, steps));
            assert!(result.is_ok(), "story {seed} in version {version} failed: PAIR_SEED={seed}");
        }
    }
}

const STEPS: usize = 1_500;

#[test]
fn without_faults_everything_arrives_once_and_in_order() {
    tell_many(Faults { cut_percent: 0, crashes: false, forgetful_server: false }, 100, STEPS);
}

#[test]
fn nothing_is_lost_and_qos2_is_exact_when_links_are_cut_at_any_byte() {
    tell_many(Faults { cut_percent: 3, crashes: false, forgetful_server: false }, 150, STEPS);
}

#[test]
fn nothing_is_lost_when_the_server_forgets_the_session() {
    tell_many(Faults { cut_percent: 3, crashes: false, forgetful_server: true }, 150, STEPS);
}

#[test]
fn nothing_durable_is_lost_when_the_process_is_killed() {
    tell_many(Faults { cut_percent: 3, crashes: true, forgetful_server: false }, 350, STEPS);
}

#[test]
fn nothing_durable_is_lost_when_everything_goes_wrong() {
    tell_many(Faults { cut_percent: 4, crashes: true, forgetful_server: true }, 350, STEPS);
}
