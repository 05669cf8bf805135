//! Everything that was measured, for programs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Row, Sample, Table};
use crate::args::Args;
use crate::machine;

/// Writes the machine, the arguments, and every figure of every round.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_json(path: &Path, args: &Args, tables: &[Table]) -> Result<(), String> {
    let report = json!({
        "machine": machine::describe(),
        "quick": args.quick,
        "rounds": args.rounds,
        "workloads": tables.iter().map(workload).collect::<Vec<_>>(),
    });
    std::fs::write(path, format!("{report:#}\n"))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn workload(table: &Table) -> Value {
    let case = &table.case;
    json!({
        "name": case.name,
        "title": case.title,
        "qos": case.qos,
        "payload": case.payload,
        "sessions": case.sessions,
        "window": case.window,
        "contestants": table.rows.iter().map(|row| contestant(table, row)).collect::<Vec<_>>(),
    })
}

fn contestant(table: &Table, row: &Row) -> Value {
    let names = row.samples.first().map(|sample| sample.0.iter().map(|(name, _)| name));
    let medians: Map<String, Value> =
        names.into_iter().flatten().map(|name| (name.clone(), json!(row.median(name)))).collect();
    let own = row.median(table.subject());
    let ratio = |other: Option<f64>| own.zip(other).map(|(own, other)| own / other);
    json!({
        "name": row.contestant.name,
        "note": row.contestant.note,
        "messages": row.messages,
        "median": medians,
        "of_raw": ratio(table.raw()),
        "of_best_peer": ratio(table.best_peer()),
        "rounds": row.samples.iter().map(sample).collect::<Vec<_>>(),
        "failure": row.failure,
    })
}

fn sample(sample: &Sample) -> Value {
    sample.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
}
