//! The parts of `cargo xtask test`.

use clap::ValueEnum;
use toolkit::system::Need;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Rules, SQL texts, error table, documentation: tests beside the code
    Unit,
    /// The contract, over HTTP and with the functions' binaries; each test has its own database
    Journeys,
    /// The same journeys with `repeatable read` in every transaction of a function, so that conflicts are errors (SQLSTATE 40001)
    Isolation,
    /// Servers that fail, hang and come back, functions that are killed: what users see, and how soon it works again
    Faults,
    /// The routes in every file, the answers that openapi.yaml documents, the sample events
    Contract,
    /// Migrations of an empty database, a current one, and both forms of the old service's; refusals
    Migrations,
    /// The page that sets a new password, in Chromium
    Browser,
    /// Access tokens, verified by PyJWT, jose and Flask-JWT-Extended
    Verifiers,
    /// A minute of mixed traffic with a fault every few seconds; afterwards nothing may be lost
    Soak,
    /// Each requirement of docs/security.md, and each fault of docs/operations.md, has tests that carry its number
    Requirements,
    /// template.yaml as CloudFormation receives it, for every combination of its switches: cargo delivery check-template
    Template,
    /// The packages for Lambda of two functions, the largest one and one without clients: cargo delivery package
    Package,
    /// Deployments that succeed, fail or are rolled back, against a stand-in for AWS, and docs/deploying.md: cargo delivery rehearse
    Delivery,
    /// The GitHub workflows, checked by actionlint
    Workflows,
    /// Licences, sources and bans of every dependency, checked by cargo deny (CI checks advisories, which need the network)
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
                | Self::Faults
                | Self::Contract
                | Self::Migrations
                | Self::Browser
                | Self::Verifiers
                | Self::Soak
        )
    }

    pub fn needs_dynamodb(self) -> bool {
        matches!(self, Self::Journeys | Self::Isolation | Self::Faults | Self::Contract | Self::Soak)
    }

    /// The programs of the system that it needs.
    pub fn needs(self) -> &'static [Need] {
        use Need::{Browser, Compiler, Curl, Faults, Java, Node, Python};
        match self {
            Self::Unit | Self::Requirements => &[Compiler],
            Self::Journeys | Self::Isolation | Self::Contract | Self::Soak => &[Compiler, Node, Java],
            Self::Faults => &[Compiler, Node, Java, Faults],
            Self::Migrations | Self::Collection => &[Compiler, Node],
            Self::Browser => &[Compiler, Node, Browser],
            Self::Verifiers => &[Compiler, Node, Python],
            Self::Up => &[Compiler, Node, Python, Curl],
            Self::Template | Self::Package | Self::Delivery | Self::Dependencies => &[Compiler, Python],
            Self::Workflows => &[Node],
        }
    }

    /// The arguments of `cargo build` that build its tests.
    pub fn target(self) -> [String; 2] {
        match self {
            Self::Soak => ["--example".to_owned(), self.name()],
            Self::Isolation => ["--test".to_owned(), Self::Journeys.name()],
            _ => ["--test".to_owned(), self.name()],
        }
    }
}
