//! `cargo xtask fuzz`: runs the targets of `fuzz/` for a limited time.

use crate::process::Task;
use std::path::Path;

/// Runs one target, or all of them in turn.
///
/// # Errors
/// A usage error, a missing tool, or the first target that found something.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let request = Request::parse(arguments)?;
    let known = targets(root)?;
    let chosen = match &request.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => return Err(format!("no fuzz target `{name}`; there are: {known:?}")),
    };
    if !nightly_fuzz(&["--version"]).succeeds(root) {
        return Err("fuzzing needs a nightly toolchain and cargo-fuzz: `rustup toolchain install \
                    nightly` and `cargo install cargo-fuzz`"
            .to_owned());
    }
    let limit = format!("-max_total_time={}", request.seconds);
    for target in chosen {
        println!("== fuzz {target}, {} s", request.seconds);
        nightly_fuzz(&["run", &target, "--", &limit]).run(root)?;
    }
    Ok(())
}

fn nightly_fuzz(arguments: &[&str]) -> Task {
    let mut line = vec!["run", "nightly", "cargo", "fuzz"];
    line.extend(arguments);
    Task::new("rustup", &line)
}

/// What the command line asked for.
struct Request {
    target: Option<String>,
    seconds: u32,
}

impl Request {
    fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut request = Self { target: None, seconds: 60 };
        let mut rest = arguments.iter();
        while let Some(&argument) = rest.next() {
            if argument == "--seconds" {
                let value = rest.next().ok_or("--seconds needs a number")?;
                request.seconds = value
                    .parse()
                    .map_err(|_| format!("--seconds needs a whole number, not `{value}`"))?;
            } else if argument.starts_with('-') || request.target.is_some() {
                return Err(format!("unexpected argument `{argument}`: see `cargo xtask help`"));
            } else {
                request.target = Some(argument.to_owned());
            }
        }
        Ok(request)
    }
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let directory = root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory)
        .map_err(|error| format!("no fuzz targets in fuzz/fuzz_targets: {error}"))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_suffix(".rs").map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_and_time_are_read_in_any_order() {
        let request = Request::parse(&["--seconds", "5", "decode"]).unwrap();
        assert_eq!((request.target.as_deref(), request.seconds), (Some("decode"), 5));
        let request = Request::parse(&["decode"]).unwrap();
        assert_eq!((request.target.as_deref(), request.seconds), (Some("decode"), 60));
    }

    #[test]
    fn second_target_and_bad_time_are_refused() {
        assert!(Request::parse(&["a", "b"]).is_err());
        assert!(Request::parse(&["--seconds"]).is_err());
        assert!(Request::parse(&["--seconds", "x"]).is_err());
    }
}
