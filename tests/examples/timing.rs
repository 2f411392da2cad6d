//! Measures whether the time of an answer reveals that an address has an account. Sends requests for known and unknown addresses alternately.
//! `cargo xtask measure` runs this program. Results are in docs/measurements.md.
#![expect(clippy::print_stdout, reason = "the program prints its results")]

use std::{cell::Cell, net::Ipv4Addr, time::Duration};

use tests::{Person, Reply, Stack};
use tokio::net::TcpListener;

/// The minimum duration of a forgot-password answer, in milliseconds. It is longer than the stand-in for SES takes, and shorter than the default of
/// one second.
const MINIMUM_DURATION: &str = "600";

/// The number of samples at the beginning that are not counted, because the processes start and connect to the database.
const WARM_UP: usize = 10;

#[tokio::main]
async fn main() {
    let samples = std::env::args().nth(1).map_or(200, |samples| samples.parse().expect("a number of samples"));
    println!("{samples} samples of each kind, taken alternately; times in milliseconds\n");
    println!("| known, median | unknown, median | difference | relative | MAD | request |");
    println!("| --- | --- | --- | --- | --- | --- |");
    measure_sign_in(samples).await;
    measure_forgot_password("SES accepts the mail", samples, &tests::server("TEST_SES_URL")).await;
    // This listener accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    measure_forgot_password("SES does not answer", samples, &url).await;
}

async fn measure_sign_in(samples: usize) {
    let stack = Stack::builder().processes(1).start().await;
    let crowd = Crowd::of(&stack, samples).await;
    let known = async |n| crowd.known(n % 50).tries_to_sign_in().await;
    let unknown = async |n| crowd.unknown(n % 50).tries_to_sign_in().await;
    let another = async |n| crowd.unknown(50 + n % 50).tries_to_sign_in().await;
    compare("sign-in, wrong password", samples, 401, known, unknown).await;
    compare("for comparison: sign-in, two sets of unknown addresses", samples, 401, another, unknown).await;
}

async fn measure_forgot_password(what: &str, samples: usize, mail: &str) {
    let stack = Stack::builder()
        .with("FORGOT_PASSWORD_FLOOR_MS", MINIMUM_DURATION)
        .with("AWS_ENDPOINT_URL_SES", mail)
        .processes(1);
    let stack = stack.start().await;
    let crowd = Crowd::of(&stack, samples).await;
    // Each account is used once, because the fourth request within an hour would send no mail.
    let known = async |n| crowd.known(n).forgets_password().await;
    let unknown = async |n| crowd.unknown(n).forgets_password().await;
    compare(&format!("forgot-password, {what}"), samples, 200, known, unknown).await;
}

/// Many people with accounts, and as many without. Each request comes from another IP address, so that no request is throttled.
struct Crowd<'a> {
    stranger: Person<'a>,
    sources: Cell<u32>,
}

impl<'a> Crowd<'a> {
    async fn of(stack: &'a Stack, samples: usize) -> Self {
        stack.user("Template").await;
        let people = samples + WARM_UP;
        let insert = format!(
            "INSERT INTO users (name, email, password)
             SELECT 'Known', 'known' || n || '@example.com', password FROM users, generate_series(0, {people}) AS n"
        );
        stack.sql(&insert).await;
        Self { stranger: stack.stranger("Nobody").with_password("not the password"), sources: Cell::new(0x0A00_0001) }
    }

    fn known(&self, n: usize) -> Person<'a> {
        self.person(&format!("known{n}@example.com"))
    }

    fn unknown(&self, n: usize) -> Person<'a> {
        self.person(&format!("other{n}@example.com"))
    }

    fn person(&self, email: &str) -> Person<'a> {
        let source = self.sources.replace(self.sources.get() + 1);
        self.stranger.with_email(email).from_source(&Ipv4Addr::from_bits(source).to_string())
    }
}

/// Takes samples of both kinds alternately, and prints a table row. Each kind comes first equally often.
async fn compare(
    what: &str,
    samples: usize,
    status: u16,
    known: impl AsyncFn(usize) -> Reply,
    unknown: impl AsyncFn(usize) -> Reply,
) {
    let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
    for n in 0..WARM_UP + samples {
        let (one, other) = if n % 2 == 0 {
            let one = known(n).await;
            (one, unknown(n).await)
        } else {
            let other = unknown(n).await;
            (known(n).await, other)
        };
        assert_eq!((one.status, &one.text), (status, &other.text));
        if n >= WARM_UP {
            of_known.push(milliseconds(one.took));
            of_unknown.push(milliseconds(other.took));
        }
    }
    let (one, other) = (median(&of_known), median(&of_unknown));
    let deviation = f64::midpoint(deviation(&of_known, one), deviation(&of_unknown, other));
    let (difference, share) = (one - other, (one - other).abs() / other * 100.0);
    println!("| {one:.2} | {other:.2} | {difference:+.3} | {share:.2} % | {deviation:.2} | {what} |");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len().is_multiple_of(2) { f64::midpoint(samples[middle - 1], samples[middle]) } else { samples[middle] }
}

/// The median absolute deviation from the median (MAD).
fn deviation(samples: &[f64], median: f64) -> f64 {
    self::median(&samples.iter().map(|sample| (sample - median).abs()).collect::<Vec<_>>())
}
