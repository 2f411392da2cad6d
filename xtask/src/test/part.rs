//! The parts of `cargo xtask test`.

use clap::ValueEnum;
use toolkit::{
    postgres::{NEWEST, OLDEST},
    system::Prerequisite,
};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Unit and documentation tests beside the code: rules, SQL statements, the error table
    Unit,
    /// The model of the session protocol: every promise in every state of twelve scenarios, and planted defects that break each promise
    Model,
    /// The contract of the API, over HTTP, with the functions' binaries. Each test has its own database
    Journeys,
    /// The journeys on the oldest version of PostgreSQL, with `repeatable read` in every transaction of a function, so that conflicts
    /// are errors (SQLSTATE 40001)
    Isolation,
    /// The journeys as in `isolation`, with sessions and counters in DynamoDB
    #[value(name = "dynamodb")]
    DynamoDb,
    /// Servers that fail, hang and recover, and functions that are killed: what users see, and how long recovery takes
    Faults,
    /// Files that must agree: the routes, the answers that openapi.yaml documents, the sample events
    Contract,
    /// Migrations of an empty database, a current one, and both versions of the old service's database. Databases that `migrate` refuses.
    /// How all roles log in, on every version of PostgreSQL
    Migrations,
    /// The pages that links in mails open, in Chromium, and the whole life of an account. axe-core checks that the pages are accessible
    Browser,
    /// Access tokens, verified by PyJWT, jose and Flask-JWT-Extended. Codes of an authenticator, computed by pyotp. Responses of passkeys,
    /// verified by webauthn-rs
    Verifiers,
    /// A minute of mixed traffic with a fault every few seconds. Afterwards no data may be lost
    Soak,
    /// Each requirement of docs/security.md, and each fault of docs/operations.md, has a test with its number
    Requirements,
    /// Deployments that succeed, fail or are rolled back, against a local stand-in for AWS, and the commands of docs/deploying.md:
    /// cargo delivery rehearse
    Delivery,
    /// For each limit of size, the Lambda package of the largest function: cargo delivery package
    Package,
    /// template.yaml and database.yaml as CloudFormation receives them, for every combination of their conditional parameters
    Template,
    /// The GitHub workflows, checked by actionlint
    Workflows,
    /// Licences, sources and bans of every dependency, checked by cargo deny (CI also checks advisories, which needs the network)
    Dependencies,
    /// The Postman collection, unchanged, run by newman against `cargo xtask up` on its default ports
    Collection,
    /// `cargo xtask up` on its default ports: the README's walk-through in bash; functions that restart, stop or cannot start
    Up,
}

impl Part {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub fn covers(self) -> String {
        self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    pub fn needs_servers(self) -> bool {
        matches!(
            self,
            Self::Journeys
                | Self::Isolation
                | Self::DynamoDb
                | Self::Faults
                | Self::Contract
                | Self::Migrations
                | Self::Browser
                | Self::Verifiers
                | Self::Soak
        )
    }

    /// Whether the part may run beside others for which this is true. Such a part does not measure times, uses about one core, and prints nothing but
    /// what its one command prints.
    pub fn runs_beside_others(self) -> bool {
        matches!(self, Self::Delivery | Self::Package | Self::Template)
    }

    /// The major version of PostgreSQL on which the part runs. The parts that repeat the journeys use the oldest version.
    pub fn postgres(self) -> u32 {
        if matches!(self, Self::Isolation | Self::DynamoDb) { OLDEST } else { NEWEST }
    }

    pub fn needs_dynamodb(self) -> bool {
        matches!(
            self,
            Self::Journeys
                | Self::Isolation
                | Self::DynamoDb
                | Self::Faults
                | Self::Contract
                | Self::Browser
                | Self::Soak
        )
    }

    /// The programs of the operating system that the part needs.
    pub fn prerequisites(self) -> &'static [Prerequisite] {
        use Prerequisite::{Browser, Compiler, Curl, Faults, Java, Node, Python};
        match self {
            Self::Unit | Self::Model | Self::Requirements => &[Compiler],
            Self::Journeys | Self::Isolation | Self::DynamoDb | Self::Contract | Self::Soak => &[Compiler, Node, Java],
            Self::Faults => &[Compiler, Node, Java, Faults],
            Self::Migrations | Self::Collection => &[Compiler, Node],
            Self::Browser => &[Compiler, Node, Java, Browser],
            Self::Verifiers => &[Compiler, Node, Python],
            Self::Up => &[Compiler, Node, Python, Curl],
            Self::Template | Self::Package | Self::Delivery | Self::Dependencies => &[Compiler, Python],
            Self::Workflows => &[Node],
        }
    }

    /// The arguments of `cargo build` that build the tests of the part.
    pub fn target(self) -> [String; 2] {
        match self {
            Self::Soak => ["--example".to_owned(), self.name()],
            Self::Isolation | Self::DynamoDb => ["--test".to_owned(), Self::Journeys.name()],
            _ => ["--test".to_owned(), self.name()],
        }
    }
}
