//! The command line.

use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Args {
    /// Short runs, for a first look: their figures are not for publication.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// Names or their beginnings, of workloads and of contestants; empty: all.
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) list: bool,
}

impl Args {
    /// # Errors
    /// An argument that is not known, or lacks its value.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut args = Self { quick: false, rounds: 0, only: Vec::new(), json: None, list: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--quick" => args.quick = true,
                "--list" => args.list = true,
                "--json" => args.json = Some(PathBuf::from(value()?)),
                "--rounds" => {
                    let text = value()?;
                    args.rounds =
                        text.parse().ok().filter(|&rounds| rounds > 0).ok_or_else(|| {
                            format!("--rounds needs a whole number, not `{text}`")
                        })?;
                }
                "--only" => args.only.extend(value()?.split(',').map(str::to_owned)),
                _ => {
                    return Err(format!(
                        "unexpected argument `{argument}`: see `cargo xtask help`"
                    ));
                }
            }
        }
        if args.rounds == 0 {
            args.rounds = if args.quick { 2 } else { 5 };
        }
        Ok(args)
    }
}
