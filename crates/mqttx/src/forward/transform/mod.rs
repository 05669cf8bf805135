//! What a forwarder makes of a message besides its topic, QoS and retain flag: the place for changes of
//! payload and properties.
//!
//! A change is made in `Engine::send`, between the rendered topic and the hand-over to a target, with
//! buffers of the engine's `Scratch`. One file per kind.
