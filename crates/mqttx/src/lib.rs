//! Many MQTT sessions in one process.
