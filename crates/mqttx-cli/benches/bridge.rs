//! `mqttx run` beside Mosquitto's own bridge: QoS 1 from one Mosquitto to another, in one run.
//!
//! `MQTTX_TEST_MOSQUITTO=/usr/sbin/mosquitto cargo bench -p mqttx-cli --bench bridge`
//!
//! The messages wait at the source before the bridge starts, so that only the bridge and the brokers count. Mosquitto's bridge is a
//! third Mosquitto with a connection to each side, as `mqttx` is a process of its own. The processor's time is that of the bridge's
//! process, from /proc.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mqttx::{Publish, QoS, SessionManager, SessionOptions};
use mqttx_test::{Mosquitto, TempDir};

const MESSAGES: u32 = 100_000;
const ROUNDS: usize = 3;
const PAYLOAD: usize = 100;

#[derive(Clone, Copy)]
enum Contestant {
    Mosquitto,
    Mqttx,
    MqttxDurable,
}

impl Contestant {
    const ALL: [Self; 3] = [Self::Mosquitto, Self::Mqttx, Self::MqttxDurable];

    const fn name(self) -> &'static str {
        match self {
            Self::Mosquitto => "mosquitto bridge",
            Self::Mqttx => "mqttx run",
            Self::MqttxDurable => "mqttx run, file store",
        }
    }

    fn start(self, place: &TempDir, source: &Mosquitto, target: &Mosquitto) -> Child {
        let mut command = match self {
            Self::Mosquitto => {
                let program = std::env::var_os("MQTTX_TEST_MOSQUITTO").expect("it is set");
                Command::new(program)
            }
            Self::Mqttx | Self::MqttxDurable => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_mqttx"));
                command.arg("run");
                command
            }
        };
        let file = place.path().join("config");
        std::fs::write(&file, self.configuration(place, source, target)).expect("a file");
        let command = command.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it starts")
    }

    fn configuration(self, place: &TempDir, source: &Mosquitto, target: &Mosquitto) -> String {
        let (source, target) = (source.address(), target.address());
        let store = match self {
            Self::Mosquitto => {
                let bridge = |name, address, direction| {
                    format!(
                        "connection {name}\naddress {address}\ntopic in/# {direction} 1\n\
                         cleansession false\nremote_clientid gw-{name}\nnotifications false\n\
                         bridge_protocol_version mqttv50\n"
                    )
                };
                return format!(
                    "listener 0 {}/socket\nallow_anonymous true\nmax_queued_messages 0\n\
                     max_inflight_messages 1000\nset_tcp_nodelay true\nuser root\n{}{}",
                    place.path().display(),
                    bridge("src", source, "in"),
                    bridge("dst", target, "out")
                );
            }
            Self::Mqttx => "",
            Self::MqttxDurable => {
                "[stores.disk]\nkind = 'file'\n[defaults.session]\nstore = 'disk'\n"
            }
        };
        format!(
            "{store}[sessions.src]\nbrokers = ['{source}']\nclient_id = 'gw-src'\n\
             [sessions.dst]\nbrokers = ['{target}']\nclient_id = 'gw-dst'\n\
             [forwarders.fw]\nfrom = [{{ session = 'src', topics = ['in/#'] }}]\n\
             to = [{{ session = 'dst' }}]\n"
        )
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` only wants to see that it runs.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{MESSAGES} messages of {PAYLOAD} bytes at QoS 1, from one Mosquitto to another");
    println!("{:<24}{:>14}{:>24}", "", "messages/s", "CPU of the bridge");
    for _ in 0..ROUNDS {
        for contestant in Contestant::ALL {
            let Some((time, cpu)) = measure(contestant).await else { return };
            let rate = f64::from(MESSAGES) / time.as_secs_f64();
            let each = cpu.as_secs_f64() * 1e6 / f64::from(MESSAGES);
            println!("{:<24}{rate:>14.0}{each:>18.1} us/msg", contestant.name());
        }
    }
}

async fn broker() -> Option<Mosquitto> {
    Mosquitto::builder().max_inflight(1000).line("max_queued_messages 0").start().await
}

/// From the start of the bridge to the last message at the target, and the processor's time of the bridge.
async fn measure(contestant: Contestant) -> Option<(Duration, Duration)> {
    let (source, target) = (broker().await?, broker().await?);
    let place = TempDir::new("bench-bridge");
    let manager = SessionManager::new();
    let add = |name, broker: &Mosquitto| {
        let options = SessionOptions::quick_connect(name, broker.url()).build().expect("valid");
        manager.add_session(options).expect("a session")
    };
    let (writer, reader) = (add("writer", &source), add("reader", &target));
    let (tell, mut told) = tokio::sync::watch::channel(0_u32);
    let count = move |_: &mqttx::Message| tell.send_modify(|count| *count += 1);
    let _route = reader.route("in/#").qos(QoS::AtLeastOnce).handle(count).expect("a route");
    manager.wait_for_all_sessions(LONG).await.expect("ready");
    // The bridge subscribes once, and goes.
    let mut bridge = contestant.start(&place, &source, &target);
    let message = Publish::new("in/first", "x").qos(QoS::AtLeastOnce);
    while *told.borrow() == 0 {
        writer.publish_message(message.clone()).await.expect("published");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    end(&mut bridge);
    let message = Publish::new("in/x", vec![b'x'; PAYLOAD]).qos(QoS::AtLeastOnce);
    for _ in 0..MESSAGES {
        writer.submit(&message).await.expect("accepted");
    }
    writer.flush(LONG).await.expect("acknowledged");
    let before = *told.borrow_and_update();
    let started = Instant::now();
    let mut bridge = contestant.start(&place, &source, &target);
    told.wait_for(|count| *count - before >= MESSAGES).await.expect("all arrive");
    let (time, cpu) = (started.elapsed(), cpu_of(bridge.id()));
    end(&mut bridge);
    manager.shutdown(Duration::ZERO).await;
    Some((time, cpu))
}

const LONG: Duration = Duration::from_secs(120);

fn end(bridge: &mut Child) {
    let pid = bridge.id().to_string();
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    let _ = bridge.wait();
}

/// User and system time, in the hundredths of a second of Linux.
fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Behind the name, which may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
