//! `--report`: what became of each message, a JSON line each.

use mqttx::proto::PacketId;

use crate::exit::Failure;
use crate::output;

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The session has it: stored, where there is a durable store.
    Accepted,
    /// The server has it (QoS 0: the socket).
    Acknowledged,
    /// The server refused it, or it cannot be sent.
    Refused,
}

/// Writes the line of the message number `n`, counted from 1.
///
/// # Errors
/// stdout is closed or full.
pub(super) fn write(
    n: u64,
    fate: Fate,
    packet_id: Option<PacketId>,
    reason: Option<u8>,
) -> Result<(), Failure> {
    let event = match fate {
        Fate::Accepted => "accepted",
        Fate::Acknowledged => "acknowledged",
        Fate::Refused => "refused",
    };
    let number = |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |n| n.to_string());
    let line = format!(
        "{{\"n\":{n},\"event\":\"{event}\",\"packet_id\":{},\"reason\":{}}}\n",
        number(packet_id.map(|id| id.get().into())),
        number(reason.map(Into::into))
    );
    output::print(line.as_bytes())
        .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))
}
