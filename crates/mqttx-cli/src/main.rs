//! The `mqttx` command.
fn main() {}
