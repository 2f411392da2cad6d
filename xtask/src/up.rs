//! `cargo xtask up`.

use std::process::ExitCode;

use anyhow::Result;
use toolkit::{
    console::{say, step},
    gateway::Cors,
    interrupt::Interrupted,
    run_folder::RunFolder,
    template::Template,
    workspace::Workspace,
};

use crate::{
    stack::{BackingServices, Options, Ports, Stack, StackArgs, postgres::without_password, settings::Settings},
    walk_through::WalkThrough,
};

/// Run the whole service on this machine: the API, a database, and a mail server that shows the mails.
///
/// Needs Rust, a C compiler and Node.js 20.19; everything else is installed below `.tools/`. Ctrl-C stops everything.
///
/// If DATABASE_URL is set, the service uses that database. Otherwise the command downloads and starts a PostgreSQL server, and keeps
/// its data in `.local/`. The functions' environment variables are in `.local/env`. The first run creates that file with random
/// secrets. Later runs keep your changes.
///
/// When you save a change below `functions/`, `shared/` or `migrations/`, the affected functions are built and restarted. When
/// you change `.local/env`, all functions are restarted. After adding a route or a migration, stop the command and run it again.
/// Logs are printed here and kept in `.local/logs/`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask up
  cargo xtask up --port 8080
  cargo xtask up --state-table
  cargo xtask up --allowed-origins http://localhost:5173,http://localhost:4200
  DATABASE_URL=postgres://me:secret@127.0.0.1:5432/auth cargo xtask up
  cargo xtask up --ephemeral          a second service beside the first

To begin with an empty database, stop the command and delete `.local/postgres`, and `.local/dynamodb` if it exists.")]
pub struct Args {
    #[command(flatten)]
    stack: StackArgs,

    /// Processes of each function. Each process handles one request at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=50))]
    concurrency: u8,

    /// Use free ports, a new database (even if DATABASE_URL is set) and a new state table, and delete the data at the end. On Linux, the
    /// database is in memory (/dev/shm), if 2 GiB are free
    #[arg(long, conflicts_with_all = ["port", "mail_port", "database_port", "dynamodb_port"])]
    ephemeral: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    args.stack.require(&[])?;
    let workspace = Workspace::load()?;
    let (run_folder, ports) = if args.ephemeral {
        (RunFolder::ephemeral(&workspace)?, Ports::default())
    } else {
        (RunFolder::kept(&workspace)?, args.stack.ports())
    };
    let options = Options {
        ports,
        state_table: args.stack.state_table,
        cors: Cors::of_template(&Template::read(&workspace.root)?, args.stack.allowed_origins.as_deref())?,
        concurrency: args.concurrency.into(),
        build: true,
    };
    let mut stack = Stack::start(&workspace, &run_folder, options)?;

    say(welcome(&workspace, &stack.url, &stack.backing, &stack.settings)?);
    say("Logs follow. Ctrl-C stops everything.\n");
    run_folder.show_logs();
    match stack.run_until(|| None::<ExitCode>) {
        Err(error) if error.is::<Interrupted>() => {
            step("Stopping");
            drop(stack);
            drop(run_folder);
            say("Everything is stopped.");
            Ok(ExitCode::SUCCESS)
        }
        ended => ended,
    }
}

/// The text with the addresses of the servers and the commands of the walk-through.
pub fn welcome(workspace: &Workspace, api: &str, backing: &BackingServices, settings: &Settings) -> Result<String> {
    let mail = backing.mail.url();
    let database = without_password(&backing.database_url);
    let dynamodb =
        backing.dynamodb.as_ref().map(|dynamodb| format!("\n    DynamoDB   {}", dynamodb.url())).unwrap_or_default();
    let settings = settings.path().display();
    let WalkThrough { before_reset, after_reset } = WalkThrough::read(workspace, api)?;
    let [before_reset, after_reset] = [before_reset.commands, after_reset.commands];
    Ok(format!(
        "
    API        {api}
    Mail       {mail}
    Database   {database}{dynamodb}
    Settings   {settings}

Paste this into another terminal. Each time, the commands create a new account:

{before_reset}

Open {mail}, click the link in the mail about a new password, and set the password another-password456. Then paste this into the same terminal:

{after_reset}
"
    ))
}
