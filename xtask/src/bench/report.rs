//! The figures as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::{
    machine::Machine,
    measurement::{Figures, Measurement},
    subject::{Setup, Subject},
};
use crate::table;

/// The result of a run.
pub struct Report {
    pub machine: Machine,
    pub starts: u32,
    pub calls: u32,
    pub measurements: Vec<Measurement>,
}

/// A function's times as multiples of those of its bare program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    pub start: f64,
    pub call: f64,
    pub processor: f64,
}

impl Ratios {
    fn of(figures: &Figures, limit: &Figures) -> Self {
        Self {
            start: figures.start.p50 / limit.start.p50,
            call: figures.call.p50 / limit.call.p50,
            processor: figures.processor / limit.processor,
        }
    }
}

impl Report {
    /// Each program with its figures. The row of a function also has the bare program, and the ratios of their times.
    pub fn rows(&self) -> impl Iterator<Item = (Subject, &Figures, Option<(Subject, Ratios)>)> {
        let mut limit = None;
        self.measurements.iter().map(move |(subject, figures)| {
            if subject.is_bare() {
                limit = Some((*subject, figures));
                return (*subject, figures, None);
            }
            (*subject, figures, limit.map(|(bare, limit)| (bare, Ratios::of(figures, limit))))
        })
    }

    /// The report as JSON. Times are in milliseconds, sizes in KiB.
    pub fn json(&self) -> String {
        let programs: Vec<Value> = self
            .rows()
            .map(|(subject, figures, compared)| {
                let ratios = compared.map(|(limit, ratios)| {
                    json!({
                        "limit": limit.program,
                        "start": rounded(ratios.start),
                        "call": rounded(ratios.call),
                        "processor": rounded(ratios.processor),
                    })
                });
                json!({
                    "program": subject.program,
                    "tls": subject.setup == Setup::Tls,
                    "state_table": subject.setup == Setup::StateTable,
                    "unconnected": subject.setup == Setup::Unconnected,
                    "figures": figures,
                    "ratios": ratios,
                })
            })
            .collect();
        let report = json!({
            "machine": self.machine,
            "starts": self.starts,
            "calls": self.calls,
            "programs": programs,
        });
        format!("{report:#}\n")
    }
}

/// The number with two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

const HEAD: [&str; 14] = [
    "program",
    "start, ms",
    "ratio",
    "call, ms",
    "ratio",
    "p95",
    "p99",
    "CPU, ms",
    "ratio",
    "memory, MiB",
    "program, KiB",
    "gzip, KiB",
    "SQL",
    "DynamoDB",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "{} starts and {} calls of each program\n", self.starts, self.calls)?;
        let rows: Vec<_> = self.rows().map(|(subject, figures, compared)| cells(subject, figures, compared)).collect();
        table::write(f, HEAD, &rows)
    }
}

fn cells(subject: Subject, figures: &Figures, compared: Option<(Subject, Ratios)>) -> [String; HEAD.len()] {
    let ratio =
        |of: fn(&Ratios) -> f64| compared.as_ref().map_or_else(String::new, |(_, ratios)| format!("{:.2}", of(ratios)));
    let memory = figures.memory.map(|kibibytes| format!("{:.1}", kibibytes_as_mebibytes(kibibytes)));
    [
        label(subject),
        format!("{:.2}", figures.start.p50),
        ratio(|ratios| ratios.start),
        format!("{:.3}", figures.call.p50),
        ratio(|ratios| ratios.call),
        format!("{:.3}", figures.call.p95),
        format!("{:.3}", figures.call.p99),
        format!("{:.3}", figures.processor),
        ratio(|ratios| ratios.processor),
        memory.join(" / "),
        figures.program.to_string(),
        figures.compressed.to_string(),
        format!("{}", figures.counts.statements),
        format!("{}", figures.counts.dynamodb_requests),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "no process has so much memory")]
fn kibibytes_as_mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

/// How the table and the plot name a program. The names of bare programs are in italics in Markdown.
pub fn label(subject: Subject) -> String {
    let setup = match subject.setup {
        Setup::Plain => "",
        Setup::Tls => ", TLS",
        Setup::StateTable => ", state table",
        Setup::Unconnected => ", refused before it connects",
    };
    if subject.is_bare() { format!("_{}_{setup}", subject.program) } else { format!("{}{setup}", subject.program) }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::{counts::Counts, samples::Percentiles, subject};

    fn figures(time: f64) -> Figures {
        let times = Percentiles { p50: time, p95: 2.0 * time, p99: 3.0 * time };
        Figures {
            start: Percentiles { p50: 10.0 * time, ..times },
            call: times,
            processor: time / 2.0,
            memory: [1024, 2048, 3584],
            program: 100,
            compressed: 40,
            counts: Counts { statements: 1.0, dynamodb_requests: 0.0 },
        }
    }

    /// A report in which each bare program has the time 2, and each function the time 3.
    pub fn report() -> Report {
        let measurements = subject::all(true);
        let measurements =
            measurements.into_iter().map(|subject| (subject, figures(if subject.is_bare() { 2.0 } else { 3.0 })));
        let machine = Machine::of_this_run("18.1").unwrap();
        Report { machine, starts: 20, calls: 1000, measurements: measurements.collect() }
    }

    #[test]
    fn each_function_is_compared_with_the_bare_program_of_its_group() {
        let report = report();
        for (subject, _, compared) in report.rows() {
            assert_eq!(compared.is_none(), subject.is_bare(), "{}", subject.name());
            let Some((limit, ratios)) = compared else { continue };
            assert_eq!(ratios, Ratios { start: 1.5, call: 1.5, processor: 1.5 });
            let expected = match (subject.program, subject.setup) {
                ("welcome" | "public", _) | (_, Setup::Unconnected) => "hello",
                ("signin", _) => "hash",
                (_, Setup::StateTable) => "get-items",
                ("dashboard" | "signin-passkey", _) => "select",
                _ => "update",
            };
            assert_eq!(limit.program, expected);
            assert!(limit.setup == subject.setup || subject.setup == Setup::Unconnected);
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_program_with_as_many_cells_as_its_head() {
        let table = report().to_string();
        let rows: Vec<_> = table.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 2 + report().measurements.len());
        for row in &rows {
            assert_eq!(row.matches('|').count(), HEAD.len() + 1, "{row}");
        }
        assert!(rows.iter().any(|row| row.contains("| refresh, state table ") && row.contains("| 1.0 / 2.0 / 3.5 ")));
    }

    #[test]
    fn the_json_has_the_ratios_of_functions_and_none_of_bare_programs() {
        let report: Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(report["programs"][0]["ratios"], Value::Null);
        assert_eq!(
            report["programs"][1]["ratios"],
            json!({ "limit": "hello", "start": 1.5, "call": 1.5, "processor": 1.5 })
        );
        assert_eq!(report["programs"][1]["figures"]["call"]["p99"], 9.0);
    }
}
