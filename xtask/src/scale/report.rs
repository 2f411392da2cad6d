//! The figures as tables and as JSON.

use std::fmt;

use serde::Serialize;

use super::{
    generator::Amounts,
    sizes::Size,
    sweeping::{Sweeping, Window},
    warm::Comparison,
};
use crate::{
    bench::{machine::Machine, samples::Percentiles},
    table,
};

/// The result of a run. Times are in milliseconds unless their names say something else, sizes in bytes.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    /// The settings of PostgreSQL.
    pub settings: Vec<String>,
    /// The rows of the filled database.
    pub amounts: Amounts,
    pub calls: u32,
    pub comparisons: Vec<Comparison>,
    pub sweeping: Sweeping,
    pub sizes: Vec<Size>,
}

impl Report {
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amounts { users, sessions, live, counters, mails } = self.amounts;
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "PostgreSQL: {}", self.settings.join(", "))?;
        writeln!(
            f,
            "{users} users, {sessions} sessions ({live} live), {counters} counters, {mails} mails in the outbox\n"
        )?;
        writeln!(f, "{} warm calls of each function on each database:\n", self.calls)?;
        let rows: Vec<_> = self.comparisons.iter().map(comparison).collect();
        table::write(f, ["call, ms", "empty", "filled", "ratio", "p95, empty", "p95, filled", "ratio"], &rows)?;

        let sweeping = &self.sweeping;
        writeln!(f, "\nSign-ins while {:.0} sessions expired every second:\n", sweeping.rate)?;
        let windows = sweeping.windows.iter().enumerate().map(|(number, each)| window((number + 1).to_string(), each));
        let rows: Vec<_> = windows.chain([window("mails due".to_owned(), &sweeping.with_mails)]).collect();
        table::write(f, WINDOW, &rows)?;
        writeln!(
            f,
            "\nWithout due mails, sweep deleted {:.0} sessions a second while it ran.\n",
            sweeping.deleted_a_second()
        )?;

        let rows: Vec<_> = self.sizes.iter().map(size).collect();
        table::write(f, ["bytes a row", "rows", "heap", "indexes", "sum", "all rows, MB"], &rows)
    }
}

fn comparison(Comparison { function, empty, filled }: &Comparison) -> [String; 7] {
    let ratio = |of: fn(&Percentiles) -> f64| format!("{:.2}", of(filled) / of(empty));
    let time = |time: f64| format!("{time:.3}");
    [
        (*function).to_owned(),
        time(empty.p50),
        time(filled.p50),
        ratio(|times| times.p50),
        time(empty.p95),
        time(filled.p95),
        ratio(|times| times.p95),
    ]
}

const WINDOW: [&str; 11] = [
    "window",
    "sign-ins",
    "refused",
    "p50, ms",
    "p95, ms",
    "sweep, s",
    "p95 meanwhile",
    "sessions deleted",
    "a second",
    "left",
    "mails sent",
];

#[expect(clippy::cast_precision_loss, reason = "there are not so many sessions")]
fn window(name: String, Window { sign_ins, refused, times, sweep, times_during_sweep }: &Window) -> [String; 11] {
    let time = |time: f64| format!("{time:.1}");
    let of_sweep = sweep.as_ref().map_or_else(Default::default, |sweep| {
        [
            format!("{:.1}", sweep.seconds),
            times_during_sweep.map_or_else(String::new, |times| time(times.p95)),
            sweep.sessions_deleted.to_string(),
            format!("{:.0}", sweep.sessions_deleted as f64 / sweep.seconds),
            sweep.sessions_left.to_string(),
            sweep.mails_sent.to_string(),
        ]
    });
    let [took, meanwhile, deleted, a_second, left, mails] = of_sweep;
    let (p50, p95) = (time(times.p50), time(times.p95));
    [name, sign_ins.to_string(), refused.to_string(), p50, p95, took, meanwhile, deleted, a_second, left, mails]
}

fn size(size: &Size) -> [String; 6] {
    let all = size.heap + size.indexes;
    let for_each = |bytes| format!("{:.0}", size.for_each_row(bytes));
    [
        size.table.to_owned(),
        size.rows.to_string(),
        for_each(size.heap),
        for_each(size.indexes),
        for_each(all),
        (all / 1_000_000).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::scale::{requests::COMPARED, sweeping};

    fn report() -> Report {
        let times = |p50| Percentiles { p50, p95: 2.0 * p50, p99: 3.0 * p50 };
        let comparison = |function| Comparison { function, empty: times(2.0), filled: times(2.2) };
        Report {
            machine: Machine::of_this_run("18.1").unwrap(),
            settings: vec!["fsync = off".to_owned()],
            amounts: Amounts { users: 10, sessions: 100, live: 30, counters: 10, mails: 2 },
            calls: 1000,
            comparisons: COMPARED.map(comparison).into(),
            sweeping: sweeping::tests::sweeping(),
            sizes: vec![Size { table: "users", rows: 10, heap: 1000, indexes: 505 }],
        }
    }

    #[test]
    fn the_tables_show_ratios_windows_and_bytes_a_row() {
        let text = report().to_string();
        assert!(
            text.contains("| signin          | 2.000 | 2.200  | 1.10  | 4.000      | 4.400       | 1.10  |"),
            "{text}"
        );
        assert!(text.contains("sweep deleted 30000 sessions a second"), "{text}");
        let windows: Vec<_> = text.lines().filter(|line| line.contains("| 1000 ")).collect();
        assert_eq!(windows.len(), 11, "{text}");
        assert_eq!(windows.iter().filter(|line| line.contains("| 60000 ")).count(), 6, "{text}");
        assert!(text.contains("| users       | 10   | 100  | 50      | 150 | 0            |"), "{text}");
    }

    #[test]
    fn the_json_has_every_figure() {
        let report: Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(report["comparisons"][3]["filled"]["p50"], 2.2);
        assert_eq!(report["sweeping"]["windows"][1]["sweep"]["sessions_left"], 12);
        assert_eq!(report["sizes"][0]["heap"], 1000);
    }
}
