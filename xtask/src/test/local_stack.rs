//! Tests of the stack of `cargo xtask up`. They use its default ports, and the unchanged README and Postman collection.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use toolkit::{
    console::{print_error, say, step},
    gateway::Cors,
    http, process,
    run_folder::RunFolder,
    template::Template,
    workspace::Workspace,
};

use super::count::Count;
use crate::{
    stack::{Options, Ports, Stack},
    tools,
    walk_through::WalkThrough,
};

/// Runs the unchanged Postman collection with newman. Each assertion counts as a test. Each failed request or script counts as a
/// failed test.
pub fn collection(workspace: &Workspace, built: bool) -> Result<Count> {
    let mut newman = tools::newman(workspace)?;
    let run_folder = RunFolder::ephemeral(workspace)?;
    let mut stack = start(workspace, &run_folder, built)?;
    let summary = run_folder.path().join("newman.json");
    newman
        .current_dir(&workspace.root)
        .args(["run", "docs/postman_collection.json", "--color", "off", "--reporters", "cli,json"])
        .arg("--reporter-json-export")
        .arg(&summary)
        .env("NO_PROXY", "127.0.0.1");
    step("Running the collection");
    with_running(&mut stack, || process::lines("newman", &mut newman, &mut |line| say(line)))??;
    let run: Value = serde_json::from_str(&fs::read_to_string(summary).context("newman wrote no summary")?)?;
    let number = |value: &Value| value.as_u64().context("newman's summary has an unexpected format");
    let assertions = &run["run"]["stats"]["assertions"];
    let (total, failed) = (number(&assertions["total"])?, number(&assertions["failed"])?);
    let failures = run["run"]["failures"].as_array().map_or(0, Vec::len).try_into()?;
    Ok(Count { passed: total - failed, failed: failed.max(failures) })
}

type Test = fn(&Workspace, &mut Stack) -> Result<()>;

/// Runs the tests below, one after the other, against one stack.
pub fn up(workspace: &Workspace, built: bool) -> Result<Count> {
    const TESTS: [(&str, Test); 9] = [
        ("the_walk_through_can_be_pasted_again_and_again", the_walk_through_can_be_pasted_again_and_again),
        (
            "the_configuration_document_names_an_address_that_answers",
            the_configuration_document_names_an_address_that_answers,
        ),
        ("a_body_that_is_not_utf_8_is_refused", a_body_that_is_not_utf_8_is_refused),
        ("a_body_over_10_mb_is_refused", a_body_over_10_mb_is_refused),
        ("a_method_without_a_route_is_not_found", a_method_without_a_route_is_not_found),
        ("the_authorizer_decides_who_gets_to_its_route", the_authorizer_decides_who_gets_to_its_route),
        ("a_process_that_is_killed_is_replaced", a_process_that_is_killed_is_replaced),
        (
            "a_request_in_flight_while_functions_restart_is_answered",
            a_request_in_flight_while_functions_restart_is_answered,
        ),
        (
            "a_request_to_a_function_that_cannot_start_is_answered",
            a_request_to_a_function_that_cannot_start_is_answered,
        ),
    ];
    let run_folder = RunFolder::ephemeral(workspace)?;
    let mut stack = start(workspace, &run_folder, built)?;
    let mut count = Count::default();
    for (name, test) in TESTS {
        match test(workspace, &mut stack) {
            Ok(()) => {
                say(format_args!("test {name} ... ok"));
                count.passed += 1;
            }
            Err(error) => {
                print_error(format_args!("test {name} failed: {error:#}"));
                count.failed += 1;
            }
        }
    }
    Ok(count)
}

fn start<'a>(workspace: &'a Workspace, run_folder: &'a RunFolder, built: bool) -> Result<Stack<'a>> {
    let cors = Cors::of_template(&Template::read(&workspace.root)?, None)?;
    let options = Options { ports: Ports::DOCUMENTED, state_table: false, cors, concurrency: 2, build: !built };
    Stack::start(workspace, run_folder, options).context(
        "the stack did not start on the default ports of `cargo xtask up`, which are in the documents that this part tests",
    )
}

/// Runs the stack while `task` runs in another thread. Returns the result of the task.
fn with_running<T: Send>(stack: &mut Stack, task: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let task = scope.spawn(task);
        stack.run_until(|| task.is_finished().then_some(()))?;
        task.join().map_err(|_| anyhow::anyhow!("the test panicked"))
    })
}

struct Answer {
    status: u16,
    body: Value,
    retry_after: bool,
    took: Duration,
}

/// Sends a request and waits at most ten seconds for its answer.
fn send(method: &str, url: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
    let request = ureq::http::Request::builder().method(method).uri(url).header("content-type", content_type);
    let started = Instant::now();
    let mut response = http::agent(Some(Duration::from_secs(10)))
        .run(request.body(body)?)
        .with_context(|| format!("{method} {url} got no answer within ten seconds"))?;
    let took = started.elapsed();
    let retry_after = response.headers().contains_key("retry-after");
    let text = response.body_mut().read_to_string()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status: response.status().as_u16(), body, retry_after, took })
}

fn post(stack: &Stack, path: &str, body: &Value) -> impl FnOnce() -> Result<Answer> + use<> {
    let (url, body) = (format!("{}{path}", stack.url), body.to_string());
    move || send("POST", &url, "application/json", body.as_bytes())
}

fn ensure_unavailable(answer: &Answer) -> Result<()> {
    let body = json!({ "message": "Service temporarily unavailable", "code": "service_unavailable" });
    ensure!((answer.status, &answer.body) == (503, &body), "answered {}: {}", answer.status, answer.body);
    ensure!(answer.retry_after, "there is no Retry-After");
    ensure!(answer.took < Duration::from_secs(5), "answered after {:?}", answer.took);
    Ok(())
}

fn the_walk_through_can_be_pasted_again_and_again(workspace: &Workspace, stack: &mut Stack) -> Result<()> {
    let WalkThrough { before_reset, after_reset } = WalkThrough::read(workspace, &stack.url)?;
    // This script does what a person does on the mail page and the reset page.
    let reset = format!(
        r#"
        link=$(curl -s {}/store | python3 -c 'import json, re, sys
        mails = [mail for mail in json.load(sys.stdin)["emails"] if sys.argv[1] in mail["destination"]["to"]]
        print(re.search(r"/reset-password/\S+", mails[-1]["body"]["text"])[0])' $email)
        curl -s $api/api$link -H "$json" -d '{{"password":"another-password456"}}' > /dev/null
        "#,
        stack.backing.mail.url()
    );
    let reset = reset.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let script = [&before_reset.commands, &reset, &after_reset.commands].map(String::as_str).join("\n");
    let expected = format!("{}\n{}", before_reset.output, after_reset.output);
    for _ in 0..2 {
        let mut bash = Command::new("bash");
        bash.args(["-u", "-c", &script]).env("NO_PROXY", "127.0.0.1");
        let printed = with_running(stack, || process::output("bash", &mut bash))??;
        ensure!(
            matches(&printed, &expected),
            "according to README.md, the commands print\n{expected}\nbut they print\n{printed}"
        );
        // The email address contains the current second, so the next run must begin in another second.
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// Whether the printed lines match the expected lines. `…` in an expected line stands for any text.
fn matches(printed: &str, expected: &str) -> bool {
    let line_matches = |printed: &str, expected: &str| {
        let (first, rest) = expected.split_once('…').unwrap_or((expected, ""));
        let Some(mut remaining) = printed.strip_prefix(first) else { return false };
        for part in rest.split('…') {
            let Some(at) = remaining.find(part) else { return false };
            remaining = &remaining[at + part.len()..];
        }
        remaining.is_empty()
    };
    printed.lines().count() == expected.lines().count()
        && printed.lines().zip(expected.lines()).all(|(printed, expected)| line_matches(printed, expected))
}

fn the_configuration_document_names_an_address_that_answers(_: &Workspace, stack: &mut Stack) -> Result<()> {
    let url = format!("{}/.well-known/openid-configuration", stack.url);
    let configuration = with_running(stack, || send("GET", &url, "", b""))??.body;
    let keys = configuration["jwks_uri"].as_str().context("there is no jwks_uri")?;
    let answer = with_running(stack, || send("GET", keys, "", b""))??;
    ensure!(
        (answer.status, &answer.body) == (200, &json!({ "keys": [] })),
        "answered {}: {}",
        answer.status,
        answer.body
    );
    Ok(())
}

fn a_body_that_is_not_utf_8_is_refused(_: &Workspace, stack: &mut Stack) -> Result<()> {
    let invalid_json = (400, "invalid_json");
    let unsupported = (415, "unsupported_media_type");
    for (content_type, (status, code)) in [
        ("application/json", invalid_json),
        ("application/json; charset=utf-8", invalid_json),
        ("text/plain", unsupported),
        ("", unsupported),
    ] {
        let url = format!("{}/api/signup", stack.url);
        let body = b"{\"name\":\"\xff\",\"email\":\"a@example.com\",\"password\":\"password123\"}";
        let answer = with_running(stack, || send("POST", &url, content_type, body))??;
        ensure!(
            (answer.status, answer.body["code"].as_str()) == (status, Some(code)),
            "{content_type:?} is answered {}: {}",
            answer.status,
            answer.body
        );
    }
    Ok(())
}

fn a_body_over_10_mb_is_refused(_: &Workspace, stack: &mut Stack) -> Result<()> {
    let url = format!("{}/api/signup", stack.url);
    let body = vec![b' '; 10 * 1024 * 1024 + 1];
    let answer = with_running(stack, || send("POST", &url, "application/json", &body))??;
    ensure!(answer.status == 413, "answered {}", answer.status);
    Ok(())
}

fn the_authorizer_decides_who_gets_to_its_route(_: &Workspace, stack: &mut Stack) -> Result<()> {
    let url = format!("{}/api/example", stack.url);
    let get_with = |token: Option<&str>| -> Result<(u16, Value)> {
        let request = http::agent(Some(Duration::from_secs(10))).get(&url);
        let request = token
            .into_iter()
            .fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        let mut response = request.call()?;
        Ok((response.status().as_u16(), serde_json::from_str(&response.body_mut().read_to_string()?)?))
    };
    let account = json!({ "name": "Ada", "email": "ada@example.com", "password": "password123" });
    let request = post(stack, "/api/signup", &account);
    with_running(stack, request)??;
    let request = post(stack, "/api/signin", &account);
    let session = with_running(stack, request)??.body;
    let token = session["access_token"].as_str().context("there is no access token")?;
    let (without, wrong, right) = with_running(stack, || (get_with(None), get_with(Some("x")), get_with(Some(token))))?;
    let statuses = [without?.0, wrong?.0];
    ensure!(statuses == [401, 403], "without a token and with a wrong one: {statuses:?}");
    let (status, body) = right?;
    ensure!(status == 200 && body["sub"].is_string(), "with a token: {status} {body}");
    Ok(())
}

fn a_process_that_is_killed_is_replaced(_: &Workspace, stack: &mut Stack) -> Result<()> {
    // A process that ends within five seconds after its start is not replaced.
    with_running(stack, || thread::sleep(Duration::from_secs(6)))?;
    let before = stack.process_ids("welcome");
    let killed = *before.first().context("no process runs")?;
    kill(Pid::from_raw(killed.cast_signed()), Signal::SIGKILL)?;
    with_running(stack, || thread::sleep(Duration::from_secs(1)))?;
    let after = stack.process_ids("welcome");
    ensure!(
        after.len() == before.len() && !after.contains(&killed),
        "process ids before: {before:?}, after: {after:?}"
    );
    let url = format!("{}/", stack.url);
    let answer = with_running(stack, || send("GET", &url, "", b""))??;
    ensure!(answer.status == 200, "answered {}", answer.status);
    Ok(())
}

fn a_method_without_a_route_is_not_found(_: &Workspace, stack: &mut Stack) -> Result<()> {
    for (method, path) in [("GET", "/api/signup"), ("DELETE", "/"), ("HEAD", "/"), ("GET", "/api/nothing")] {
        let url = format!("{}{path}", stack.url);
        let answer = with_running(stack, || send(method, &url, "", b""))??;
        ensure!(answer.status == 404, "{method} {path} is answered {}", answer.status);
    }
    Ok(())
}

fn a_request_in_flight_while_functions_restart_is_answered(_: &Workspace, stack: &mut Stack) -> Result<()> {
    // With this setting, forgot-password is still running when the functions restart.
    with_setting(stack, "FORGOT_PASSWORD_FLOOR_MS=3000", |stack| {
        let request = post(stack, "/api/forgot-password", &json!({ "email": "nobody@example.com" }));
        let settings = stack.settings.path().to_owned();
        let answer = with_running(stack, move || {
            let waiting = thread::spawn(request);
            thread::sleep(Duration::from_millis(300));
            let text = fs::read_to_string(&settings)?;
            fs::write(&settings, format!("# Edited.\n{text}"))?;
            waiting.join().unwrap_or_else(|_| bail!("the request panicked"))
        })??;
        ensure_unavailable(&answer)
    })
}

fn a_request_to_a_function_that_cannot_start_is_answered(_: &Workspace, stack: &mut Stack) -> Result<()> {
    let signin = json!({ "email": "nobody@example.com", "password": "password123" });
    with_setting(stack, "JWT_ACCESS_TOKEN_EXPIRES=abc", |stack| {
        let request = post(stack, "/api/signin", &signin);
        ensure_unavailable(&with_running(stack, request)??)
    })?;
    let request = post(stack, "/api/signin", &signin);
    let answer = with_running(stack, request)??;
    ensure!(answer.status == 401, "after its settings were corrected, the function answered {}", answer.status);
    Ok(())
}

/// Runs `test` with one more line in the settings. Waits after each change until the functions have restarted.
fn with_setting(stack: &mut Stack, line: &str, test: impl FnOnce(&mut Stack) -> Result<()>) -> Result<()> {
    const RESTARTED: Duration = Duration::from_secs(3);
    let before = fs::read_to_string(stack.settings.path())?;
    fs::write(stack.settings.path(), format!("{line}\n{before}"))?;
    with_running(stack, || thread::sleep(RESTARTED))?;
    let result = test(stack);
    fs::write(stack.settings.path(), before)?;
    with_running(stack, || thread::sleep(RESTARTED))?;
    result
}
