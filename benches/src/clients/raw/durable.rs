//! The limit of the disk: as many records as may be in flight appended at once, then forced to the disk, again and again.

use std::fs::File;
use std::io::{Result, Write};

use crate::child::Task;

/// What a record takes besides its payload, about.
const OVERHEAD: usize = 48;

pub(super) async fn run(task: &Task) -> Result<()> {
    let record = task.case.payload + OVERHEAD;
    let group = (task.case.sessions * usize::from(task.case.window)) as u64;
    let mut file = File::create_new(task.directory().join("raw"))?;
    file.set_len(task.messages * record as u64)?;
    file.sync_all()?;
    task.released().await;
    let bytes = vec![7; group as usize * record];
    let mut left = task.messages;
    while left > 0 {
        let count = left.min(group);
        file.write_all(&bytes[..count as usize * record])?;
        file.sync_data()?;
        left -= count;
    }
    Ok(())
}
