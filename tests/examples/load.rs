//! Sends random requests to more processes than the database allows connections. Measures throughput, times and refusals. Afterwards it
//! checks that every change that an answer confirmed was stored. `cargo xtask load` runs this program. Results are in docs/measurements.md.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use shared::security::policy;
use tests::{
    Ses, Stack, Store,
    traffic::{Traffic, median},
};
use tokio::{join, time::sleep};
use uuid::Uuid;

/// The number of samples for each baseline.
const SAMPLES: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    const USAGE: &str = "usage: load <seconds> <users> <processes> <connections> postgresql|dynamodb";
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let store = match arguments.pop().as_deref() {
        Some("postgresql") => Store::PostgreSql,
        Some("dynamodb") => Store::DynamoDb,
        _ => panic!("{USAGE}"),
    };
    let numbers: Vec<usize> = arguments.iter().map(|number| number.parse().expect("a number")).collect();
    let [seconds, users, processes, connections] = numbers[..] else { panic!("{USAGE}") };
    let seed = Uuid::new_v4().as_u64_pair().0 >> 32;
    println!(
        "{seconds} s, {users} users at once, {processes} processes for each function, {connections} connections, sessions in {store:?}"
    );

    let ses = Ses::new().await;
    let stack =
        Stack::builder().state_in(store).with("AWS_ENDPOINT_URL_SES", &ses.endpoint).processes(processes).start().await;
    let baselines = [
        ("`SELECT 1`", select_1(&stack).await),
        ("one hash", hash().await),
        ("`GET /api/public`", public_endpoint(&stack).await),
    ];
    stack.limit_connections(connections.try_into().expect("a small number")).await;
    let traffic = Traffic::new(&stack, &ses, seed, Duration::ZERO);
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let (users, ()) = join!(traffic.run(users, until), async {
        while Instant::now() < until {
            sleep(Duration::from_secs(5)).await;
            println!("{}", traffic.answers.progress());
        }
    });
    println!("\n{}", traffic.answers);
    report(&traffic, &baselines);

    stack.limit_connections(-1).await;
    let ledger = traffic.verify(users, true).await;
    let (violations, defects) = (traffic.answers.violations(), traffic.answers.count(Some(500)));
    println!("\n{ledger}\n{defects} answers with status 500, {} violations", violations.len());
    for violation in &violations {
        println!("- {violation}");
    }
    ExitCode::from(u8::from(!violations.is_empty()))
}

/// Prints the median time of each endpoint's successful answers, and its ratio to each baseline.
fn report(traffic: &Traffic<'_>, baselines: &[(&str, Duration)]) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let heads: Vec<_> =
        baselines.iter().map(|(what, time)| format!("multiple of {what}, {:.2} ms", milliseconds(*time))).collect();
    println!("| median of successes | ms | {} |\n| --- | --- | --- | --- | --- |", heads.join(" | "));
    for endpoint in ["dashboard", "refresh", "logout", "signup", "signin", "reset-password", "forgot-password"] {
        let time = traffic.answers.median(endpoint);
        let ratios: Vec<_> =
            baselines.iter().map(|(_, baseline)| format!("{:.1}", time.div_duration_f64(*baseline))).collect();
        println!("| {endpoint} | {:.1} | {} |", milliseconds(time), ratios.join(" | "));
    }
}

async fn sample<T>(work: impl AsyncFn() -> T) -> Duration {
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        work().await;
        times.push(began.elapsed());
    }
    median(times)
}

/// One statement on an open connection.
async fn select_1(stack: &Stack) -> Duration {
    let client = stack.database.connect().await;
    sample(async || client.query_one("SELECT 1", &[]).await.expect("a row")).await
}

/// A function without dependencies.
async fn public_endpoint(stack: &Stack) -> Duration {
    sample(async || stack.get("/api/public").await).await
}

/// One password hash with the parameters of the functions.
async fn hash() -> Duration {
    let params = Params::new(policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES, None);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.expect("the policy's parameters"));
    sample(async || argon2.hash_password_into(b"password123", &[0; 16], &mut [0; 32]).expect("a hash")).await
}
