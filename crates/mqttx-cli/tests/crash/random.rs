//! Random decisions that a seed repeats.

use std::time::Duration;

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of 100 cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Up to this long, in steps of 100 µs.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        let steps = longest.as_micros() as u64 / 100 + 1;
        Duration::from_micros(self.below(steps) * 100)
    }
}

/// The payload of message `number`: its number, and a tail whose length and bytes follow from it.
pub(crate) fn payload(number: u64) -> String {
    let mut random = Random::new(number);
    let length = if random.chance(5) { random.below(20_000) } else { random.below(200) };
    let tail = (0..length).map(|_| char::from(b'a' + random.below(26) as u8));
    format!("{number}:{}", tail.collect::<String>())
}

/// The number of a payload.
///
/// # Errors
/// It is not what [`payload`] makes: it was damaged on its way.
pub(crate) fn number(bytes: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let number = text.split(':').next().and_then(|digits| digits.parse().ok());
    match number {
        Some(number) if payload(number) == text => Ok(number),
        _ => Err(format!("damaged payload: {}", mqttx_test::shown(bytes))),
    }
}
