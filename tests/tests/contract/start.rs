//! A function starts if the variables of its needs (the list `needs` in its Cargo.toml) are set. It reads no other variables.
//!
//! A function that starts asks the Lambda runtime interface for an event. A function that cannot start logs why and stops.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tests::documents::endpoints;
use toolkit::{
    endpoints::{Endpoint, SessionStore},
    needs::{Need, Variable},
};

/// Longest wait until a function has asked for an event or stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a function's binary with these variables and those that Lambda sets. `None` if it started, else what it logged.
fn refusal(function: &str, variables: &[(&str, &str)]) -> Option<String> {
    let runtime_api = TcpListener::bind("127.0.0.1:0").unwrap();
    runtime_api.set_nonblocking(true).unwrap();
    let mut process = Command::new(tests::binary(function))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let refused = has_stopped(&mut process, &runtime_api);
    process.kill().unwrap();
    let mut log = String::new();
    process.stdout.take().unwrap().read_to_string(&mut log).unwrap();
    process.wait().unwrap();
    refused.then_some(log)
}

/// Waits until the process stops (`true`) or asks for an event (`false`).
fn has_stopped(process: &mut Child, runtime_api: &TcpListener) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if runtime_api.accept().is_ok() {
            return false;
        }
        if process.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("the function neither asked for an event nor stopped");
}

/// The variables of the endpoint's needs for which the filter is true, with their example values.
fn examples(endpoint: &Endpoint, wanted: impl Fn(&Variable) -> bool) -> Vec<(&'static str, &'static str)> {
    let variables = endpoint.variables().into_values().filter(wanted);
    variables.map(|variable| (variable.name, variable.example)).collect()
}

/// What is wrong with how a function starts.
fn problems(endpoint: &Endpoint) -> Vec<String> {
    let name = endpoint.name.as_str();
    let mut problems = Vec::new();
    let mut expect_start = |variables: &[(&str, &str)], with: &str| {
        if let Some(log) = refusal(name, variables) {
            problems.push(format!("`{name}` does not start with {with}: {log}"));
        }
    };
    expect_start(&examples(endpoint, |variable| variable.required), "only the required variables of its needs");

    // The variables of needs that this function does not have get malformed values. If the function reads one of them, it does not start,
    // and the test fails.
    let own = endpoint.variables();
    let others = Need::ALL.iter().flat_map(|need| need.variables()).filter(|variable| !own.contains_key(variable.name));
    let malformed = others.filter_map(|variable| Some((variable.name, variable.malformed?)));
    let all = examples(endpoint, |_| true);
    let variables: Vec<_> = all.iter().copied().chain(malformed).collect();
    expect_start(
        &variables,
        "all variables of its needs, and malformed values for variables of other needs, which it must not read",
    );

    let of_database: BTreeSet<_> = Need::Database.variables().map(|variable| variable.name).collect();
    if !endpoint.uses_database(SessionStore::DynamoDb) {
        let malformed = Need::Database.variables().filter_map(|variable| Some((variable.name, variable.malformed?)));
        let others = all.iter().copied().filter(|(name, _)| !of_database.contains(name));
        expect_start(
            &others.chain(malformed).collect::<Vec<_>>(),
            "sessions in DynamoDB and malformed values for the variables of the database, which it must not read then",
        );
    }

    for variable in own.values() {
        let is_of_database = of_database.contains(variable.name);
        // With a state table, a function may need no database.
        let is_other = |other: &str| other != variable.name && !(is_of_database && other == "STATE_TABLE");
        let others = || all.iter().copied().filter(|(other, _)| is_other(other));
        let mut expect_refusal = |variables: &[(&str, &str)], reason: &str| {
            match refusal(name, variables) {
            None => problems.push(format!(
                "`{name}` starts although {} {reason}. Delete the need that has this variable from functions/{name}/Cargo.toml, or read the \
                 variable at start.",
                variable.name
            )),
            Some(log) if !log.contains(&format!("{} {reason}", variable.name)) => {
                problems.push(format!("`{name}` does not log that {} {reason}: {log}", variable.name));
            }
            Some(log) if !log.contains(&format!("function=\"{name}\"")) => {
                problems.push(format!("`{name}` logs a line without its name: {log}"));
            }
            Some(log) if variable.malformed.is_some_and(|value| log.contains("canary") && value.contains("canary")) => {
                problems.push(format!("`{name}` logs the value of {}: {log}", variable.name));
            }
            Some(_) => {}
        }
        };
        if variable.required {
            expect_refusal(&others().collect::<Vec<_>>(), "is not set");
            expect_refusal(&others().chain([(variable.name, "")]).collect::<Vec<_>>(), "is not set");
        }
        if let Some(value) = variable.malformed {
            expect_refusal(&others().chain([(variable.name, value)]).collect::<Vec<_>>(), "is malformed");
        }
    }
    problems
}

// Requirement 10.
#[test]
fn every_function_starts_with_the_variables_of_its_needs_and_fails_without_them() {
    let problems: Vec<String> = thread::scope(|scope| {
        let checks: Vec<_> = endpoints().iter().map(|endpoint| scope.spawn(|| problems(endpoint))).collect();
        checks.into_iter().flat_map(|check| check.join().unwrap()).collect()
    });
    assert!(problems.is_empty(), "\n\n- {}\n", problems.join("\n- "));
}
