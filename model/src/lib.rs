//! A model of the session protocol: who may do what with an account and its sessions, whatever happens at the same time and whatever fails.
//!
//! The checker of the crate `stateright` visits every state of the scenarios, and checks every promise in each of them. `docs/protocol.md`
//! says what the model contains and what it leaves out. Read the modules in this order:
//!
//! 1. [`world`]: everything that a state contains: the two stores, the mails, what each person knows, and the requests under way.
//! 2. [`postgres`] and [`table`]: the statements and calls, each of which takes effect as a whole.
//! 3. [`endpoints`]: the order in which each endpoint sends them.
//! 4. [`people`]: the requests that a person may send.
//! 5. [`protocol`]: what can happen next, and what can fail.
//! 6. [`history`] and [`promises`]: what answers have said, and what must be true in every state.
//! 7. [`factors`]: second factors.
//! 8. [`defects`]: defects of the protocol that can be switched on. They show that each promise can be broken.
//! 9. [`scenarios`]: the situations that the tests explore.
//! 10. [`story`]: a path through the model in words.
//! 11. [`walks`]: histories without failures. The journey `protocol` sends them to the real functions, and compares the answers.

pub mod defects;
pub mod endpoints;
pub mod factors;
pub mod history;
pub mod people;
pub mod postgres;
pub mod promises;
pub mod protocol;
pub mod scenarios;
pub mod story;
pub mod table;
pub mod walks;
pub mod world;
