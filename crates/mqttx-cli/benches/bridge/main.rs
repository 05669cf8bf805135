//! `mqttx run` beside Mosquitto's own bridge: QoS 1 from one Mosquitto to another, in one run.
//!
//! `MQTTX_TEST_MOSQUITTO=/usr/sbin/mosquitto cargo bench -p mqttx-cli --bench bridge`
//!
//! The messages wait at the source before the bridge starts, so that only the bridge and the brokers count. Mosquitto's bridge is a
//! third Mosquitto with a connection to each side, as `mqttx` is a process of its own. So is the raw forwarder, which shows what the
//! brokers and the reader reach with a bridge that costs nothing.
//!
//! With names (`raw`, `mosquitto`, `mqttx`, `durable`) behind `--` only those run.

mod cpu;
mod raw;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mqttx::{Publish, QoS, SessionManager, SessionOptions};
use mqttx_test::{Mosquitto, TempDir};

const MESSAGES: u32 = 100_000;
const ROUNDS: usize = 2;
const PAYLOAD: usize = 100;

#[derive(Clone, Copy)]
enum Contestant {
    Raw,
    Mosquitto,
    Mqttx,
    MqttxDurable,
}

impl Contestant {
    const ALL: [Self; 4] = [Self::Raw, Self::Mosquitto, Self::Mqttx, Self::MqttxDurable];

    /// As it is chosen on the command line.
    const fn key(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mosquitto => "mosquitto",
            Self::Mqttx => "mqttx",
            Self::MqttxDurable => "durable",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mosquitto => "mosquitto bridge",
            Self::Mqttx => "mqttx run",
            Self::MqttxDurable => "mqttx run, file store",
        }
    }

    fn start(self, place: &TempDir, source: &Mosquitto, target: &Mosquitto) -> Child {
        let mut command = match self {
            Self::Raw => {
                let mut command = Command::new(std::env::current_exe().expect("a program"));
                command.arg(RAW).arg(source.address().to_string());
                command.arg(target.address().to_string());
                return silent(&mut command);
            }
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
        silent(command.arg("-c").arg(file))
    }

    fn configuration(self, place: &TempDir, source: &Mosquitto, target: &Mosquitto) -> String {
        let (source, target) = (source.address(), target.address());
        let store = match self {
            Self::Mosquitto => {
                // As a bridge in MQTT 5, Mosquitto 2.0 asks for no session expiry: what waits would be gone.
                let bridge = |name, address, direction| {
                    format!(
                        "connection {name}\naddress {address}\ntopic in/# {direction} 1\n\
                         cleansession false\nremote_clientid gw-{name}\nnotifications false\n\
                         bridge_protocol_version mqttv311\n"
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
            Self::Raw | Self::Mqttx => "",
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

fn silent(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

const RAW: &str = "--raw";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [RAW, source, target] = *arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        raw::forward(source, target).expect("the brokers take the connections");
        return;
    }
    // `cargo test --benches` only wants to see that it runs.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let chosen: Vec<&String> = arguments.iter().filter(|name| !name.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(rounds(&chosen));
}

async fn rounds(chosen: &[&String]) {
    println!("{MESSAGES} messages of {PAYLOAD} bytes at QoS 1, from one Mosquitto to another");
    println!("{:24}{:>12}{:>44}", "", "", "us of processor for each message, of");
    println!(
        "{:24}{:>12}{:>11}{:>11}{:>11}{:>11}{:>8}",
        "", "messages/s", "bridge", "source", "target", "reader", "idle"
    );
    for _ in 0..ROUNDS {
        for contestant in Contestant::ALL {
            if !chosen.is_empty() && !chosen.iter().any(|name| **name == contestant.key()) {
                continue;
            }
            let Some(figures) = measure(contestant).await else { return };
            figures.print(contestant.name());
        }
    }
}

/// Of one run.
struct Figures {
    time: Duration,
    /// Processor time of the bridge, the source, the target, and the reader.
    busy: [Duration; 4],
    idle: Duration,
}

impl Figures {
    fn print(&self, name: &str) {
        let seconds = self.time.as_secs_f64();
        print!("{name:24}{:>12.0}", f64::from(MESSAGES) / seconds);
        for busy in self.busy {
            print!("{:>11.1}", busy.as_secs_f64() * 1e6 / f64::from(MESSAGES));
        }
        let idle = self.idle.as_secs_f64() / seconds / f64::from(cpu::processors());
        println!("{:>6.0} %", idle * 100.0);
    }
}

async fn broker() -> Option<Mosquitto> {
    Mosquitto::builder().max_inflight(1000).line("max_queued_messages 0").start().await
}

/// From the start of the bridge to the last message at the target.
async fn measure(contestant: Contestant) -> Option<Figures> {
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
    let others =
        [source.pid().expect("it runs"), target.pid().expect("it runs"), std::process::id()];
    let (busy, idle, started) = (others.map(cpu::of_process), cpu::idle(), Instant::now());
    let mut bridge = contestant.start(&place, &source, &target);
    told.wait_for(|count| *count - before >= MESSAGES).await.expect("all arrive");
    let (time, idle) = (started.elapsed(), cpu::idle() - idle);
    let [source_busy, target_busy, reader_busy] =
        [0, 1, 2].map(|place| cpu::of_process(others[place]) - busy[place]);
    let busy = [cpu::of_process(bridge.id()), source_busy, target_busy, reader_busy];
    end(&mut bridge);
    manager.shutdown(Duration::ZERO).await;
    Some(Figures { time, busy, idle })
}

const LONG: Duration = Duration::from_secs(120);

fn end(bridge: &mut Child) {
    let pid = bridge.id().to_string();
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    let _ = bridge.wait();
}
