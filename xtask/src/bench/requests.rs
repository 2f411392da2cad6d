//! The requests that are sent to a program. Sign-ins use the right password, and requests with a token use a valid one, so they succeed. Some
//! requests have an invalid token, to measure the start of a function that does not connect.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use toolkit::workspace::Workspace;

use super::{
    passkey::{self, Key},
    service::Service,
    subject::{Setup, Subject, Work},
};
use crate::scale::generator::{self, Amounts};

pub const PASSWORD: &str = "password123";
/// One round of PBKDF2. The first sign-in replaces this hash of the password by one with the parameters of the policy.
pub const OLD_HASH: &str = "pbkdf2:sha256:1$bench$e9b1bc548ab0ff222089222d56754158ab8ebed9f6b1fe3e270404a38a769ae4";
/// How often one account signs in, and how often one session is refreshed. Both are below the limits in `shared/src/security/policy.rs`.
const USES: usize = 40;

/// Rows of others. In almost empty tables, PostgreSQL does not use the indexes, and its plans change while the tables grow.
const OTHERS: Amounts = Amounts { users: 10_000, sessions: 20_000, live: 10_000, counters: 1_000, mails: 0 };

/// The number of accounts, and of sessions, for this number of requests.
const fn shares(requests: usize) -> usize {
    requests / USES + 1
}

/// Fills the tables, and creates the accounts for this number of requests to each program.
pub fn create_accounts(workspace: &Workspace, service: &Service, count: usize) -> Result<()> {
    let mut sql = service.sql()?;
    generator::fill(&mut sql, OTHERS, OLD_HASH)?;
    let accounts = i32::try_from(shares(count))?;
    sql.execute(
        "INSERT INTO users (name, email, password) SELECT 'Test', 'test' || n || '@example.com', $2
         FROM generate_series(0, $1::integer - 1) AS n",
        &[&accounts, &OLD_HASH],
    )?;
    let first = Subject { program: "signin", work: Work::SignIn, setup: Setup::Plain };
    Requests::prepare(workspace, service, first, 1)?.send(service)?;
    let copy = "UPDATE users SET password = new.password FROM users AS new WHERE new.email = 'test0@example.com'";
    sql.execute(copy, &[])?;
    Ok(())
}

/// Makes the requests of one program.
pub struct Requests {
    /// The program's name.
    name: String,
    work: Work,
    /// The status of every answer.
    status: u16,
    event: Value,
    /// The tokens that the requests present in turn.
    tokens: Vec<String>,
    /// The bodies that the requests have in turn, if each may be sent once.
    bodies: Vec<String>,
    /// The number of accounts that sign in, in turn.
    accounts: usize,
    /// The number of successful requests so far.
    sent: usize,
}

impl Requests {
    /// Signs in as often as needed for this number of requests.
    pub fn prepare(workspace: &Workspace, service: &Service, subject: Subject, count: usize) -> Result<Self> {
        // The bare programs ignore the content of their requests.
        let event = sample_event(workspace, if subject.is_bare() { "public" } else { subject.program })?;
        let (name, work, accounts) = (subject.name(), subject.work, shares(count));
        let mut requests =
            Self { name, work, status: 200, event, tokens: Vec::new(), bodies: Vec::new(), accounts, sent: 0 };
        if subject.setup == Setup::Unconnected {
            return Ok(Self { status: 401, ..requests });
        }
        let (field, sessions) = match subject.work {
            Work::Bare | Work::Open | Work::SignIn => return Ok(requests),
            Work::Passkey => return requests.with_assertions(workspace, service, count),
            Work::Protected | Work::Authorize => ("access_token", 1),
            Work::Refresh => ("refresh_token", shares(count)),
        };
        let setup = if subject.setup == Setup::StateTable { Setup::StateTable } else { Setup::Plain };
        let signin = Subject { program: "signin", work: Work::SignIn, setup };
        let mut sign_ins = Self::prepare(workspace, service, signin, count)?;
        for _ in 0..sessions {
            requests.tokens.push(token(&sign_ins.send(service)?.0, field)?);
        }
        Ok(requests)
    }

    /// Lets authenticators answer as many challenges of the function as there will be requests.
    fn with_assertions(mut self, workspace: &Workspace, service: &Service, count: usize) -> Result<Self> {
        let (key, accounts) = (Key::create(workspace)?, i32::try_from(self.accounts)?);
        service.sql()?.execute("DELETE FROM users WHERE email LIKE 'passkey%'", &[])?;
        passkey::create_accounts(service, &key, accounts)?;
        let mut options = self.event.clone();
        options["routeKey"] = "POST /api/signin/passkey/options".into();
        for account in (0..accounts).cycle().take(count) {
            let challenge = token(&service.invoke(&self.name, options.clone())?, "challenge")?;
            self.bodies.push(key.sign(account, &challenge)?.to_string());
        }
        Ok(self)
    }

    /// Sends the next request. Returns its answer and how long it took. Returns an error if the answer is not a success.
    pub fn send(&mut self, service: &Service) -> Result<(Value, Duration)> {
        let event = self.next();
        let began = Instant::now();
        let answer = service.invoke(&self.name, event)?;
        let took = began.elapsed();
        self.accept(&answer).with_context(|| format!("{} refused a request", self.name))?;
        Ok((answer, took))
    }

    /// The event of the next request.
    fn next(&mut self) -> Value {
        let mut event = self.event.clone();
        if let Some(token) = self.tokens.get(self.sent % self.tokens.len().max(1)) {
            let authorization = format!("Bearer {token}");
            event["headers"]["authorization"] = authorization.clone().into();
            if self.work == Work::Authorize {
                event["identitySource"] = json!([authorization]);
            }
        }
        if let Some(body) = self.bodies.get(self.sent) {
            event["body"] = body.clone().into();
        }
        if self.work == Work::SignIn {
            let email = format!("test{}@example.com", self.sent % self.accounts);
            event["body"] = json!({ "email": email, "password": PASSWORD }).to_string().into();
        }
        event
    }

    /// Takes the answer to the last request. Returns an error if it is not a success.
    fn accept(&mut self, answer: &Value) -> Result<()> {
        let is_success = match self.work {
            Work::Authorize => answer["isAuthorized"] == true,
            _ => answer["statusCode"] == self.status,
        };
        ensure!(is_success, "the answer is not the expected one: {answer}");
        if self.work == Work::Refresh {
            let place = self.sent % self.tokens.len();
            self.tokens[place] = token(answer, "refresh_token")?;
        }
        self.sent += 1;
        Ok(())
    }
}

/// The sample event of a function, in `events/`.
pub fn sample_event(workspace: &Workspace, function: &str) -> Result<Value> {
    let path = workspace.root.join("events").join(function).with_extension("json");
    let event = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str(&event)?)
}

/// A token in the body of an answer.
pub fn token(answer: &Value, field: &str) -> Result<String> {
    let body: Value = serde_json::from_str(answer["body"].as_str().context("an answer without a body")?)?;
    Ok(body[field].as_str().with_context(|| format!("an answer without {field}"))?.to_owned())
}
