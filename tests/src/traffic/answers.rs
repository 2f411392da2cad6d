//! The answers that simulated users received, and the violations that were found.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::Reply;

/// The longest time an answer may take. It is the sum of the time limit of a request, the time to cancel a statement, and the time that a
/// process is frozen or needs to start.
const LONGEST_ANSWER: Duration = Duration::from_secs(6);

/// All answers so far, and all violations so far.
pub struct AnswerLog {
    began: Instant,
    answers: Mutex<Vec<Answer>>,
    violations: Mutex<Vec<String>>,
}

struct Answer {
    endpoint: &'static str,
    status: u16,
    code: String,
    took: Duration,
}

impl AnswerLog {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), answers: Mutex::default(), violations: Mutex::default() }
    }

    pub(super) fn record(&self, endpoint: &'static str, reply: &Reply) {
        let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        match reply.status {
            500 => self.report_violation(format!("{endpoint} answered 500")),
            503 if reply.header("retry-after").is_none() => {
                self.report_violation(format!("{endpoint}: a 503 without Retry-After"));
            }
            _ => {}
        }
        if reply.took > LONGEST_ANSWER {
            self.report_violation(format!("{endpoint} took {:?} for a {}", reply.took, reply.status));
        }
        let answer = Answer { endpoint, status: reply.status, code, took: reply.took };
        self.answers.lock().expect("no panic").push(answer);
    }

    /// Records that something is wrong.
    pub fn report_violation(&self, what: impl Into<String>) {
        self.violations.lock().expect("no panic").push(what.into());
    }

    /// Everything that was reported as wrong.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("no panic").clone()
    }

    /// The number of answers with this status, or of all answers.
    #[must_use]
    pub fn count(&self, status: Option<u16>) -> usize {
        let answers = self.answers.lock().expect("no panic");
        answers.iter().filter(|answer| status.is_none_or(|status| answer.status == status)).count()
    }

    /// The number of requests that may or may not have taken effect: 502 if the process was killed, and 503.
    pub(super) fn unanswered(&self) -> usize {
        self.count(Some(502)) + self.count(Some(503))
    }

    /// The median time of an endpoint's successful answers.
    #[must_use]
    pub fn median(&self, endpoint: &str) -> Duration {
        let answers = self.answers.lock().expect("no panic");
        let of_endpoint = |answer: &&Answer| answer.endpoint == endpoint && answer.status < 300;
        median(answers.iter().filter(of_endpoint).map(|answer| answer.took).collect())
    }

    /// One line for the console.
    #[must_use]
    pub fn progress(&self) -> String {
        let [lost, unavailable, defects] = [502, 503, 500].map(|status| self.count(Some(status)));
        let (seconds, all, violations) = (self.began.elapsed().as_secs(), self.count(None), self.violations().len());
        format!(
            "{seconds:>4} s: {all} requests, {unavailable} × 503, {lost} lost, {defects} × 500, {violations} violations"
        )
    }
}

/// Two Markdown tables: the answers and times of each endpoint, and how often each answer other than a success came.
impl Display for AnswerLog {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let answers = self.answers.lock().expect("no panic");
        let seconds = self.began.elapsed().as_secs_f64();
        let (mut endpoints, mut refusals) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, usize>::new());
        for answer in answers.iter() {
            endpoints.entry(answer.endpoint).or_default().push(answer);
            if answer.status >= 300 {
                *refusals.entry((answer.status, answer.code.as_str())).or_default() += 1;
            }
        }
        writeln!(f, "| endpoint | requests | a second | statuses | p50 | p95 | p99 | max, ms |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for (endpoint, answers) in endpoints {
            let mut statuses = BTreeMap::<u16, usize>::new();
            for answer in &answers {
                *statuses.entry(answer.status).or_default() += 1;
            }
            let statuses: Vec<_> = statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
            let times: Vec<_> = answers.iter().map(|answer| answer.took).collect();
            let times =
                [50, 95, 99, 100].map(|percent| format!("{:.1}", milliseconds(percentile(times.clone(), percent))));
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = answers.len() as f64 / seconds;
            let (statuses, times) = (statuses.join(", "), times.join(" | "));
            writeln!(f, "| {endpoint} | {} | {rate:.1} | {statuses} | {times} |", answers.len())?;
        }
        writeln!(f, "\n| answer | number |\n| --- | --- |")?;
        for ((status, code), count) in refusals {
            let code = if status == 502 { "lost" } else { code };
            writeln!(f, "| {status} {code} | {count} |")?;
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The median of the given times.
#[must_use]
pub fn median(times: Vec<Duration>) -> Duration {
    percentile(times, 50)
}

/// A percentile of the times, by the nearest-rank method.
fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(index).copied().unwrap_or_default()
}
