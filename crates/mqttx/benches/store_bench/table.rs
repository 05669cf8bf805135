//! Results, with their targets.

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

pub(crate) struct Row {
    case: String,
    what: &'static str,
    value: f64,
    target: Option<(bool, f64)>,
}

impl Row {
    pub(crate) fn new(case: &str, what: &'static str, value: f64) -> Self {
        Self { case: case.to_owned(), what, value, target: None }
    }

    pub(crate) fn at_least(mut self, target: f64) -> Self {
        self.target = Some((true, target));
        self
    }

    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.target = Some((false, target));
        self
    }

    fn verdict(&self) -> (String, &'static str) {
        let Some((least, target)) = self.target else { return (String::new(), "") };
        let met = if least { self.value >= target } else { self.value <= target };
        let sign = if least { ">=" } else { "<=" };
        (format!("{sign} {target:.2}"), if met { "yes" } else { "NO" })
    }
}

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        eprintln!("{}: {} {:.2}", row.case, row.what, row.value);
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        println!("| case | what | measured | target | met |\n|---|---|---:|---:|---|");
        for row in &self.rows {
            let (target, met) = row.verdict();
            println!("| {} | {} | {:.2} | {target} | {met} |", row.case, row.what, row.value);
        }
    }

    pub(crate) fn print_json(&self) {
        let row = |row: &Row| {
            let (target, met) = row.verdict();
            serde_json::json!({
                "case": row.case, "what": row.what, "value": row.value, "target": target, "met": met,
            })
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        println!("{}", serde_json::Value::from(rows));
    }
}
