//! One client of a load peer: whole packets walked in place, answers collected into one write.

use super::{Counters, Flood, LoadOptions, Shared};
use crate::wire;
use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes taken from a socket at a time.
const READ: usize = 256 * 1024;
/// Bytes waiting to be written above which nothing more is read or flooded.
const WRITE: usize = 256 * 1024;

thread_local! {
    /// Where every connection of the thread reads to: an idle one owns no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

pub(super) struct Connection {
    stream: TcpStream,
    options: Arc<LoadOptions>,
    shared: Arc<Shared>,
    state: State,
    /// The start of a packet whose end has not come.
    rest: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, options: Arc<LoadOptions>, shared: Arc<Shared>) -> Self {
        Self { stream, options, shared, state: State::default(), rest: Vec::new() }
    }

    pub(super) async fn run(mut self) {
        while self.turn().await {}
        self.state.counted.closed += 1;
        self.shared.add(&self.state.counted);
    }

    /// Reads, answers, floods and writes once; whether the connection is still open.
    async fn turn(&mut self) -> bool {
        self.state.refill();
        let waiting = self.state.output.len() - self.state.written;
        let interest = match waiting {
            0 => Interest::READABLE,
            1..WRITE => Interest::READABLE | Interest::WRITABLE,
            _ => Interest::WRITABLE,
        };
        let Ok(ready) = self.stream.ready(interest).await else { return false };
        let open = !ready.is_readable() || self.read();
        self.state.refill();
        if self.state.counted != Counters::default() {
            self.shared.add(&std::mem::take(&mut self.state.counted));
        }
        open && self.write()
    }

    fn read(&mut self) -> bool {
        SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
            Ok(0) => false,
            Ok(count) => {
                let input = &scratch[..count];
                if self.rest.is_empty() {
                    let used = self.state.on_input(input, &self.options);
                    self.rest.extend_from_slice(&input[used..]);
                } else {
                    self.rest.extend_from_slice(input);
                    let used = self.state.on_input(&self.rest, &self.options);
                    self.rest.drain(..used);
                }
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        })
    }

    fn write(&mut self) -> bool {
        let state = &mut self.state;
        if state.written == state.output.len() {
            return true;
        }
        match self.stream.try_write(&state.output[state.written..]) {
            Ok(count) => {
                state.written += count;
                if state.written == state.output.len() || state.written > WRITE {
                    state.output.drain(..state.written);
                    state.written = 0;
                }
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// The connection without its socket.
#[derive(Default)]
struct State {
    version: u8,
    receive_maximum: Option<u16>,
    output: Vec<u8>,
    written: usize,
    flood: Option<Running>,
    counted: Counters,
}

impl State {
    /// Answers every whole packet; how many bytes they took.
    fn on_input(&mut self, input: &[u8], options: &LoadOptions) -> usize {
        let mut used = 0;
        while let Some(length) = wire::packet_len(&input[used..]) {
            self.on_packet(&input[used..used + length], options);
            used += length;
        }
        used
    }

    fn on_packet(&mut self, packet: &[u8], options: &LoadOptions) {
        let body = &packet[wire::content_start(packet)..];
        match packet[0] >> 4 {
            1 => self.on_connect(body, options),
            3 => self.on_publish(packet, body),
            4 | 7 => self.on_flow_end(),
            5 if refused(body) => self.on_flow_end(),
            5 => self.output.extend([0x62, 2, body[0], body[1]]),
            6 => {
                self.counted.released += 1;
                self.output.extend([0x70, 2, body[0], body[1]]);
            }
            8 => self.on_subscribe(body, options),
            10 => self.on_unsubscribe(body),
            12 => {
                self.counted.pings += 1;
                self.output.extend([0xd0, 0]);
            }
            _ => {}
        }
    }

    fn on_connect(&mut self, body: &[u8], options: &LoadOptions) {
        self.counted.connects += 1;
        // Behind the protocol's name stand its level, the flags and the keep-alive.
        self.version = body[6];
        if self.version < 5 {
            return self.output.extend([0x20, 2, 0, 0]);
        }
        self.receive_maximum = receive_maximum(&body[10..]);
        match options.receive_maximum {
            None => self.output.extend([0x20, 3, 0, 0, 0]),
            Some(maximum) => {
                let [high, low] = maximum.to_be_bytes();
                self.output.extend([0x20, 6, 0, 0, 3, 0x21, high, low]);
            }
        }
    }

    fn on_publish(&mut self, packet: &[u8], body: &[u8]) {
        self.counted.publishes += 1;
        self.counted.publish_bytes += packet.len() as u64;
        self.counted.duplicates += u64::from(packet[0] >> 3 & 1);
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        match packet[0] >> 1 & 3 {
            0 => {}
            1 => self.output.extend([0x40, 2, body[2 + topic], body[3 + topic]]),
            _ => self.output.extend([0x50, 2, body[2 + topic], body[3 + topic]]),
        }
    }

    fn on_subscribe(&mut self, body: &[u8], options: &LoadOptions) {
        self.counted.subscribes += 1;
        let mut answer = body[..2].to_vec();
        self.end_properties(&mut answer);
        let mut rest = self.after_properties(&body[2..]);
        while rest.len() > 2 {
            let filter = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            answer.push(rest[2 + filter] & 3);
            rest = &rest[3 + filter..];
        }
        self.push_packet(0x90, &answer);
        if let (Some(flood), None) = (&options.flood, &self.flood) {
            let v5 = self.version >= 5;
            self.flood = Some(Running::new(flood, v5, self.receive_maximum.unwrap_or(u16::MAX)));
        }
    }

    fn on_unsubscribe(&mut self, body: &[u8]) {
        let mut answer = body[..2].to_vec();
        if self.version >= 5 {
            self.end_properties(&mut answer);
            let mut rest = self.after_properties(&body[2..]);
            while rest.len() > 1 {
                let filter = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                answer.push(0);
                rest = &rest[2 + filter..];
            }
        }
        self.push_packet(0xb0, &answer);
    }

    /// A message of the flood got its last acknowledgement.
    fn on_flow_end(&mut self) {
        self.counted.acknowledged += 1;
        if let Some(flood) = &mut self.flood {
            flood.in_flight = flood.in_flight.saturating_sub(1);
        }
    }

    /// Puts messages of the flood behind the answers, as many as the window and the buffer hold.
    fn refill(&mut self) {
        if let Some(flood) = &mut self.flood {
            let before = flood.sent;
            flood.refill(&mut self.output);
            self.counted.flooded += flood.sent - before;
        }
    }

    fn push_packet(&mut self, first_byte: u8, body: &[u8]) {
        self.output.push(first_byte);
        wire::append_varint(&mut self.output, body.len());
        self.output.extend_from_slice(body);
    }

    fn end_properties(&self, answer: &mut Vec<u8>) {
        if self.version >= 5 {
            answer.push(0);
        }
    }

    fn after_properties<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        if self.version >= 5 { split_properties(body).1 } else { body }
    }
}

/// A flood on its way.
struct Running {
    /// A packet for each topic.
    packets: Vec<Template>,
    /// The topic of the next message.
    next: usize,
    messages: u64,
    window: u64,
    sent: u64,
    in_flight: u64,
}

/// A packet, patched for each message.
struct Template {
    bytes: Vec<u8>,
    packet_id_at: Option<usize>,
    number_at: Option<usize>,
}

impl Running {
    fn new(flood: &Flood, v5: bool, receive_maximum: u16) -> Self {
        let packets = flood.topics.iter().map(|topic| Template::new(flood, topic, v5)).collect();
        let window = u64::from(flood.window.min(receive_maximum));
        Self { packets, next: 0, messages: flood.messages, window, sent: 0, in_flight: 0 }
    }

    fn refill(&mut self, output: &mut Vec<u8>) {
        while self.sent < self.messages && output.len() < WRITE {
            let packet = &mut self.packets[self.next];
            if let Some(at) = packet.packet_id_at {
                if self.in_flight == self.window {
                    return;
                }
                self.in_flight += 1;
                let id = u16::try_from(self.sent % u64::from(u16::MAX) + 1).expect("two bytes");
                packet.bytes[at..at + 2].copy_from_slice(&id.to_be_bytes());
            }
            if let Some(at) = packet.number_at {
                packet.bytes[at..at + 8].copy_from_slice(&self.sent.to_be_bytes());
            }
            output.extend_from_slice(&packet.bytes);
            self.sent += 1;
            self.next += 1;
            if self.next == self.packets.len() {
                self.next = 0;
            }
        }
    }
}

impl Template {
    fn new(flood: &Flood, topic: &str, v5: bool) -> Self {
        let mut body = Vec::new();
        let topic_len = u16::try_from(topic.len()).expect("a topic of 65535 bytes at most");
        body.extend(topic_len.to_be_bytes());
        body.extend(topic.as_bytes());
        let packet_id_at = (flood.qos > 0).then_some(body.len());
        if flood.qos > 0 {
            body.extend([0, 0]);
        }
        if v5 {
            body.push(0);
        }
        let number_at = (flood.payload >= 8).then_some(body.len());
        body.resize(body.len() + flood.payload, b'x');
        let mut bytes = vec![0x30 | flood.qos << 1];
        wire::append_varint(&mut bytes, body.len());
        let header = bytes.len();
        bytes.extend(body);
        Self {
            bytes,
            packet_id_at: packet_id_at.map(|at| at + header),
            number_at: number_at.map(|at| at + header),
        }
    }
}

/// Whether a PUBREC ends the flow: its reason code says so.
fn refused(body: &[u8]) -> bool {
    body.get(2).is_some_and(|&reason| reason >= 0x80)
}

/// The properties that `body` starts with, and what follows them.
fn split_properties(body: &[u8]) -> (&[u8], &[u8]) {
    let mut length = 0_usize;
    for (index, &byte) in body.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return body[index + 1..].split_at(length);
        }
    }
    (&[], &[])
}

/// The Receive Maximum among the properties of a CONNECT.
fn receive_maximum(body: &[u8]) -> Option<u16> {
    let (mut rest, _) = split_properties(body);
    while let Some((&id, value)) = rest.split_first() {
        let text = |at: usize| 2 + usize::from(u16::from_be_bytes([value[at], value[at + 1]]));
        let length = match id {
            0x21 => return Some(u16::from_be_bytes([value[0], value[1]])),
            0x17 | 0x19 => 1,
            0x22 => 2,
            0x11 | 0x27 => 4,
            0x26 => text(0) + text(text(0)),
            _ => text(0),
        };
        rest = &value[length..];
    }
    None
}
