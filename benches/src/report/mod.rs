//! What the runs gave: samples, rows and tables, printed and written.

mod json;
mod table;

pub(crate) use json::write_json;
pub(crate) use table::{print_summary, print_table, short};

use crate::contestant::Contestant;
use crate::workload::Case;

/// The figures of one run; the first is what the workload is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(pub(crate) Vec<(String, f64)>);

impl Sample {
    pub(crate) fn push(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    pub(crate) fn subject(&self) -> f64 {
        self.0.first().map_or(f64::NAN, |(_, value)| *value)
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }
}

/// One contestant in one workload.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contestant: &'static Contestant,
    /// In each run.
    pub(crate) messages: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failure: Option<String>,
}

impl Row {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let mut values: Vec<f64> =
            self.samples.iter().filter_map(|sample| sample.of(name)).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) =
            (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some((low + high) / 2.0)
    }
}

/// One workload.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) case: Case,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(case: Case, contestants: &[&'static Contestant]) -> Self {
        let row = |&contestant| Row { contestant, messages: 0, samples: Vec::new(), failure: None };
        Self { case, rows: contestants.iter().map(row).collect() }
    }

    /// The name of the figure that the workload is about.
    fn subject(&self) -> &str {
        let sample = self.rows.iter().find_map(|row| row.samples.first());
        sample.and_then(|sample| sample.0.first()).map_or("", |(name, _)| name)
    }

    fn raw(&self) -> Option<f64> {
        self.rows.iter().find(|row| row.contestant.is_raw())?.median(self.subject())
    }

    fn best_peer(&self) -> Option<f64> {
        let peers = self.rows.iter().filter(|row| row.contestant.is_peer());
        let figures = peers.filter_map(|row| row.median(self.subject()));
        match self.case.less_is_better() {
            true => figures.min_by(f64::total_cmp),
            false => figures.max_by(f64::total_cmp),
        }
    }
}
