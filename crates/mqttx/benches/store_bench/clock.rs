//! What was used: time of the processor, bytes of the device, memory.

use std::fs;

/// Processor time of this process, in microseconds.
pub(crate) fn cpu_us() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Processor time of the threads whose name begins with `prefix`, in microseconds.
pub(crate) fn threads_cpu_us(prefix: &str) -> f64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return f64::NAN };
    let of = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let used: f64 = stat.split(' ').next()?.parse().ok()?;
        name.starts_with(prefix).then_some(used / 1e3)
    };
    tasks.flatten().filter_map(of).sum()
}

/// Bytes that were written to all disks, by whomever.
pub(crate) fn device_bytes() -> f64 {
    let stats = fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let written = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = fields.get(2)?;
        // Whole disks: their partitions count the same bytes again.
        let is_disk = std::path::Path::new("/sys/block").join(name).exists();
        let sectors: f64 = fields.get(9)?.parse().ok()?;
        (is_disk && !name.starts_with("loop") && !name.starts_with("dm-"))
            .then_some(sectors * 512.0)
    };
    stats.lines().filter_map(written).sum()
}

/// Resident memory in bytes.
pub(crate) fn resident() -> f64 {
    number_behind(&fs::read_to_string("/proc/self/status").unwrap_or_default(), "RssAnon:") * 1024.0
}

fn number_behind(text: &str, key: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(f64::NAN)
}
