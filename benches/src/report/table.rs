//! Tables for people.

use super::{Row, Table};

/// Prints one workload.
pub(crate) fn print_table(table: &Table) {
    println!("\n{} ({})", table.case.title, table.case.name);
    let names = names(table);
    let mut lines = vec![heading(table, &names)];
    lines.extend(table.rows.iter().map(|row| line(table, row, &names)));
    print_aligned(&lines);
}

/// Prints the figure of every workload and contestant once more, in one table.
pub(crate) fn print_summary(tables: &[Table]) {
    println!("\nSummary: median (ratio to the raw limit, to the best peer)");
    let mut lines = Vec::new();
    for table in tables {
        for row in &table.rows {
            let [raw, best] = ratios(table, row);
            let figure = figure(table, row);
            let name = row.contestant.name.to_owned();
            lines.push(vec![table.case.name.clone(), name, figure, raw, best]);
        }
    }
    print_aligned(&lines);
}

/// A figure in three or four digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        1e7.. => format!("{:.1} M", value / 1e6),
        1e6.. => format!("{:.2} M", value / 1e6),
        1e4.. => format!("{:.0} k", value / 1e3),
        1e3.. => format!("{:.2} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The figures besides the subject, in the order in which they first come up.
fn names(table: &Table) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    let samples = table.rows.iter().flat_map(|row| &row.samples);
    for (name, _) in samples.flat_map(|sample| sample.0.iter().skip(1)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn heading(table: &Table, names: &[&str]) -> Vec<String> {
    let mut cells = vec![String::new(), table.subject().to_owned()];
    cells.extend(["of raw", "of best peer"].map(str::to_owned));
    cells.extend(names.iter().map(|&name| name.to_owned()));
    cells.push("note".to_owned());
    cells
}

fn line(table: &Table, row: &Row, names: &[&str]) -> Vec<String> {
    let mut cells = vec![row.contestant.name.to_owned(), figure(table, row)];
    cells.extend(ratios(table, row));
    cells.extend(names.iter().map(|&name| row.median(name).map_or(String::new(), short)));
    cells.push(row.failure.clone().unwrap_or_else(|| row.contestant.note.to_owned()));
    cells
}

fn figure(table: &Table, row: &Row) -> String {
    row.median(table.subject()).map_or_else(|| "-".to_owned(), short)
}

/// To the raw limit and to the best peer, where there are such.
fn ratios(table: &Table, row: &Row) -> [String; 2] {
    let own = row.median(table.subject());
    [table.raw(), table.best_peer()].map(|other| match (own, other) {
        (Some(own), Some(other)) if !row.contestant.is_raw() => format!("{:.2}", own / other),
        _ => String::new(),
    })
}

/// The first column to the left, the last as it comes, the others to the right.
fn print_aligned(lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            let text = cell.chars().next().is_some_and(char::is_alphabetic);
            if text { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
