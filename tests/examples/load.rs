//! Mixed traffic over more processes than there are connections to the database: how fast it is, how it refuses, and whether the books
//! balance. `cargo xtask load` runs this; what it found is in docs/measurements.md.
#![expect(clippy::print_stdout, reason = "a measurement says what it found")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use shared::security::policy;
use tests::{
    Ses, Stack,
    traffic::{Traffic, median},
};
use tokio::{join, time::sleep};
use uuid::Uuid;

/// Samples of what is measured alone.
const SAMPLES: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let [seconds, people, processes, connections] = numbers[..] else {
        panic!("load <seconds> <people> <processes> <connections>");
    };
    let seed = Uuid::new_v4().as_u64_pair().0 >> 32;
    println!("{seconds} s, {people} people at once, {processes} processes a function, {connections} connections");

    let ses = Ses::new().await;
    let stack = Stack::builder().with("AWS_ENDPOINT_URL_SES", &ses.endpoint).processes(processes).start().await;
    let alone = [
        ("`SELECT 1`", statement(&stack).await),
        ("one hash", hash().await),
        ("`GET /api/public`", hello(&stack).await),
    ];
    let limit = |connections| format!("ALTER ROLE {} CONNECTION LIMIT {connections}", stack.database.name());
    stack.sql(&limit(connections.to_string())).await;
    let traffic = Traffic::new(&stack, &ses, seed, Duration::ZERO);
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let (lives, ()) = join!(traffic.flows(people, until), async {
        while Instant::now() < until {
            sleep(Duration::from_secs(5)).await;
            println!("{}", traffic.record.progress());
        }
    });
    println!("\n{}", traffic.record);
    report(&traffic, &alone);

    stack.sql(&limit("-1".to_owned())).await;
    let books = traffic.balance(lives, true).await;
    let (broken, defects) = (traffic.record.broken(), traffic.record.count(Some(500)));
    println!("\n{books}\n{defects} answers 500, {} entries that do not balance", broken.len());
    for broken in &broken {
        println!("- {broken}");
    }
    ExitCode::from(u8::from(!broken.is_empty()))
}

/// The median of an endpoint's successes, as so many times what a part of it takes alone.
fn report(traffic: &Traffic<'_>, alone: &[(&str, Duration)]) {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let heads: Vec<_> = alone.iter().map(|(what, time)| format!("of {what}, {:.2} ms", milliseconds(*time))).collect();
    println!("| median of successes | ms | {} |\n| --- | --- | --- | --- | --- |", heads.join(" | "));
    for endpoint in ["dashboard", "refresh", "logout", "signup", "signin", "reset-password", "forgot-password"] {
        let time = traffic.record.median(endpoint);
        let ratios: Vec<_> = alone.iter().map(|(_, alone)| format!("{:.1}", time.div_duration_f64(*alone))).collect();
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

/// One statement on a connection that is there.
async fn statement(stack: &Stack) -> Duration {
    let client = stack.database.connect().await;
    sample(async || client.query_one("SELECT 1", &[]).await.expect("a row")).await
}

/// A function that needs nothing.
async fn hello(stack: &Stack) -> Duration {
    sample(async || stack.get("/api/public").await).await
}

/// One hash of a password, as the functions make it.
async fn hash() -> Duration {
    let params = Params::new(policy::ARGON2_MEMORY_KIB, policy::ARGON2_PASSES, policy::ARGON2_LANES, None);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.expect("the policy's parameters"));
    sample(async || argon2.hash_password_into(b"password123", &[0; 16], &mut [0; 32]).expect("a hash")).await
}
