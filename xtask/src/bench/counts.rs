//! Counts what a call sends to PostgreSQL and to DynamoDB.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use toolkit::interrupt;

use super::{
    requests::Requests,
    service::{DATABASE, Service},
    subject::Subject,
};

/// The number of calls that are counted.
pub const CALLS: u32 = 10;
/// The time within which PostgreSQL writes a statement to its log.
const LOG_DELAY: Duration = Duration::from_millis(200);

/// What one call sends, on average.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// Statements to PostgreSQL.
    pub statements: f64,
    /// Requests to DynamoDB.
    pub dynamodb_requests: f64,
}

/// Counts what [`CALLS`] calls send. First starts a new process and sends it one call, which is not counted.
pub fn count(service: &Service, subject: Subject, requests: &mut Requests) -> Result<Counts> {
    let relay = service.dynamodb.as_ref().map(|dynamodb| Relay::start(dynamodb.url())).transpose()?;
    let log_statements = |which: &str| {
        let setting = format!("ALTER DATABASE {DATABASE} SET log_statement = '{which}'");
        service.sql()?.batch_execute(&setting).context("the server refuses to log statements")
    };
    log_statements("all")?;
    service.restart_with_dynamodb_at(subject, relay.as_ref().map(|relay| &*relay.url))?;
    requests.send(service)?;
    interrupt::sleep(LOG_DELAY)?;
    let (statements, sent) = (logged_statements(service)?, relay.as_ref().map_or(0, Relay::requests));
    for _ in 0..CALLS {
        requests.send(service)?;
    }
    interrupt::sleep(LOG_DELAY)?;
    let each = |count: usize| Ok::<_, anyhow::Error>(f64::from(u32::try_from(count)?) / f64::from(CALLS));
    let counts = Counts {
        statements: each(logged_statements(service)? - statements)?,
        dynamodb_requests: each(relay.as_ref().map_or(0, Relay::requests) - sent)?,
    };
    log_statements("none")?;
    service.kill(&subject.name())?;
    Ok(counts)
}

fn logged_statements(service: &Service) -> Result<usize> {
    let log = fs::read(service.database.log()).context("cannot read PostgreSQL's log")?;
    Ok(count_statements(&String::from_utf8_lossy(&log)))
}

/// The number of statements in a log of PostgreSQL with `log_statement = 'all'`.
fn count_statements(log: &str) -> usize {
    log.matches("LOG:  execute ").count() + log.matches("LOG:  statement: ").count()
}

/// Forwards connections to DynamoDB Local, and counts the requests.
struct Relay {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Relay {
    /// Starts a relay to this address. It ends with this program.
    fn start(dynamodb: &str) -> Result<Self> {
        let dynamodb = url::Url::parse(dynamodb)?.socket_addrs(|| None)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&*dynamodb) else { continue };
                let count = Arc::clone(&count);
                thread::spawn(move || forward(&client, &server, &count));
            }
        });
        Ok(Self { url, requests })
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn forward(mut client: &TcpStream, mut server: &TcpStream, requests: &AtomicUsize) {
    thread::scope(|scope| {
        scope.spawn(move || {
            _ = io::copy(&mut server, &mut client);
            _ = client.shutdown(Shutdown::Write);
        });
        // The SDK sends the head of a request in one piece, so one read receives the whole head.
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = client.read(&mut buffer) {
            requests.fetch_add(count_requests(&buffer[..length]), Ordering::Relaxed);
            if server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        _ = server.shutdown(Shutdown::Write);
    });
}

/// The number of requests whose heads are in these bytes.
fn count_requests(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).to_ascii_lowercase().matches("x-amz-target:").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_whether_they_are_named_or_not() {
        let log = "2026-11-27 UTC [1] LOG:  execute <unnamed>: SELECT 1\n2026-11-27 UTC [1] DETAIL:  Parameters: $1 = '1'\n\
                   2026-11-27 UTC [1] LOG:  execute s0: SELECT\n\t2\n2026-11-27 UTC [1] LOG:  statement: SELECT 3\n\
                   2026-11-27 UTC [1] LOG:  checkpoint starting: time\n";
        assert_eq!(count_statements(log), 3);
    }

    #[test]
    fn a_request_to_dynamodb_is_counted_once() {
        let request = b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n\r\n{}";
        assert_eq!(count_requests(request), 1);
        assert_eq!(count_requests(b"{\"TableName\":\"state\"}"), 0);
    }
}
