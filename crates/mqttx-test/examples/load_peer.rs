//! The load peer as a process, to measure the command against: `load_peer` takes and acknowledges what is published,
//! `load_peer COUNT PAYLOAD_BYTES QOS` also floods every subscriber.

use mqttx_test::{Flood, LoadOptions, LoadPeer};

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let flood = match arguments[..] {
        [count, payload, qos] => {
            let (topics, window) = (vec!["load".to_owned()], u16::MAX);
            let (payload, qos) = (payload as usize, qos as u8);
            Some(Flood { topics, payload, qos, messages: count, window })
        }
        _ => None,
    };
    let peer = LoadPeer::start(LoadOptions { flood, ..LoadOptions::default() });
    println!("{}", peer.url());
    std::thread::park();
}
