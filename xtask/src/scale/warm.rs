//! Compares warm calls of a function on the two databases.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use toolkit::{
    console::{say, step},
    workspace::Workspace,
};

use super::{
    databases::{Databases, Which},
    requests,
};
use crate::bench::samples::Percentiles;

/// The first calls of a process are not counted as warm.
const WARM_UP: u32 = 10;

/// The times of one function.
#[derive(Serialize)]
pub struct Comparison {
    pub function: &'static str,
    pub empty: Percentiles,
    pub filled: Percentiles,
}

/// The number of requests to each function and database.
pub const fn requests(calls: u32) -> u32 {
    WARM_UP + calls
}

/// Measures the functions one after another. The calls on the two databases alternate, so that what else the machine does affects both.
pub fn compare(workspace: &Workspace, databases: &Databases, calls: u32) -> Result<Vec<Comparison>> {
    requests::COMPARED.iter().map(|function| compare_function(workspace, databases, function, calls)).collect()
}

fn compare_function(
    workspace: &Workspace,
    databases: &Databases,
    function: &'static str,
    calls: u32,
) -> Result<Comparison> {
    step(format_args!("Calling {function}: {calls} times on each database, alternately"));
    let prepare = |which| requests::prepare(workspace, databases, which, function, requests(calls));
    let (empty, filled) = (prepare(Which::Empty)?, prepare(Which::Filled)?);
    let mut times = [Vec::new(), Vec::new()];
    for (number, events) in (0..requests(calls)).zip(empty.into_iter().zip(filled)) {
        for ((which, event), times) in [(Which::Empty, events.0), (Which::Filled, events.1)].into_iter().zip(&mut times)
        {
            let began = Instant::now();
            let answer = databases.lambdas.invoke(&which.function(function), event)?;
            let took = began.elapsed();
            requests::ensure_success(function, &answer)?;
            if number >= WARM_UP {
                times.push(took);
            }
        }
    }
    for which in [Which::Empty, Which::Filled] {
        databases.lambdas.kill(&which.function(function))?;
    }
    let [empty, filled] = times.map(Percentiles::of);
    let times = |times: &Percentiles| format!("median {:.3} ms, p95 {:.3} ms", times.p50, times.p95);
    say(format_args!("    empty database: {}; filled one: {}", times(&empty), times(&filled)));
    Ok(Comparison { function, empty, filled })
}
