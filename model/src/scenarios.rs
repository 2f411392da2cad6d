//! The situations that the tests explore. Each lets a few requests run in every order, with a few faults. Together they contain every endpoint.

use crate::{
    defects::Defect,
    endpoints::Answer,
    factors::Shown,
    history::History,
    postgres::{Account, Postgres},
    protocol::{Protocol, Store},
    table::Table,
    world::{AccountId, Address, Knowledge, Left, Passing, Password, Random, Session, Who, World},
};

/// A situation.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Who has an account. Ada's is the first one, and Bob's the second one.
    pub owners: Vec<Who>,
    /// Who created the first account, with Ada's address.
    pub created_by: Who,
    /// Who is signed in at the beginning, each to the account that they created.
    pub signed_in: Vec<Who>,
    /// The kinds of requests that Ada, Bob and Eve send.
    pub kinds: [Vec<Kind>; 3],
    /// The addresses that people sign in with.
    pub addresses: Vec<Address>,
    /// How many requests of each person, and of `sweep`, there are.
    pub requests: [u8; 4],
    /// How many requests may be under way at the same time.
    pub at_the_same_time: usize,
    /// How many faults there are.
    pub faults: u8,
    /// How many tokens the thief may copy.
    pub thefts: u8,
    /// Whether the thief knows Ada's first password.
    pub thief_knows_password: bool,
    /// The times that may pass.
    pub time: Vec<Passing>,
    /// The limits of wrong passwords. `None` if they are not counted.
    pub failures: Option<Limits>,
    /// Whether the first account has a reset link, which was mailed to Ada.
    pub reset_is_mailed: bool,
    /// Whether a deleted account may be erased at once (`ACCOUNT_ERASE_AFTER=0`).
    pub erases_at_once: bool,
    /// Whether the owners send no request. Then nothing of theirs may change.
    pub owners_wait: bool,
}

/// How many wrong passwords in a row are allowed. The model needs fewer than the service.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From one network.
    pub of_source: u8,
    /// From all networks together.
    pub of_account: u8,
}

/// A kind of request. [`crate::people`] fills in what the person knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after the call that it sends")]
pub enum Kind {
    SignUp(Address),
    SignIn,
    Guess(Address),
    SecondFactor,
    Refresh,
    LogOut,
    EndOthers,
    Reauthenticate,
    ChangePassword,
    ForgotPassword(Address),
    ResetPassword,
    DeleteAccount,
    KeepAccount,
    VerifyAddress,
    RequestChange(Address),
    ChangeAddress,
    UndoChange,
    SignInWithPasskey,
    AddApp,
    RemoveApp,
    AddPasskey,
    RemovePasskey,
    UndoFactor,
}

use Kind::{
    AddApp, AddPasskey, ChangeAddress, ChangePassword, DeleteAccount, EndOthers, ForgotPassword, Guess, KeepAccount,
    LogOut, Reauthenticate, Refresh, RemoveApp, RemovePasskey, RequestChange, ResetPassword, SecondFactor, SignIn,
    SignInWithPasskey, SignUp, UndoChange, UndoFactor, VerifyAddress,
};

/// All scenarios.
#[must_use]
pub fn all() -> Vec<Scenario> {
    vec![
        refreshes_and_a_thief(),
        two_users(),
        a_reset_and_a_change_of_the_password(),
        a_thief_with_the_password(),
        a_deletion(),
        a_deletion_without_delay(),
        a_change_of_the_address(),
        sessions_of_one_account(),
        an_account_that_a_stranger_created(),
        a_stranger_who_knows_nothing(),
        second_factors(),
        passkeys(),
    ]
}

/// Ada refreshes and logs out, and repeats what got no answer. Eve may copy one token.
#[must_use]
pub fn refreshes_and_a_thief() -> Scenario {
    Scenario {
        kinds: [vec![Refresh, LogOut], vec![], vec![Refresh, LogOut]],
        requests: [3, 0, 2, 0],
        faults: 1,
        thefts: 1,
        time: vec![Passing::Seconds],
        ..Scenario::of_ada("refreshes and a thief")
    }
}

/// Ada and Bob use their accounts at the same time.
#[must_use]
pub fn two_users() -> Scenario {
    Scenario {
        owners: vec![Who::Ada, Who::Bob],
        signed_in: vec![Who::Ada, Who::Bob],
        kinds: [vec![Refresh, ChangePassword], vec![Refresh, SignIn], vec![]],
        addresses: vec![Address::Bob],
        requests: [2, 2, 0, 1],
        faults: 1,
        ..Scenario::of_ada("two users")
    }
}

/// Ada has a reset link. She resets and changes her password, and signs in. Each store may fail.
#[must_use]
pub fn a_reset_and_a_change_of_the_password() -> Scenario {
    Scenario {
        kinds: [vec![SignIn, ForgotPassword(Address::Ada), ResetPassword, ChangePassword], vec![], vec![]],
        requests: [3, 0, 0, 1],
        reset_is_mailed: true,
        faults: 2,
        ..Scenario::of_ada("a reset and a change of the password")
    }
}

/// Eve knows Ada's password and may copy a token. She moves the account to her address. Ada undoes it and resets the password.
#[must_use]
pub fn a_thief_with_the_password() -> Scenario {
    Scenario {
        kinds: [
            vec![UndoChange, ForgotPassword(Address::Ada), ResetPassword],
            vec![],
            vec![SignIn, RequestChange(Address::Eve), ChangeAddress],
        ],
        requests: [3, 0, 3, 1],
        at_the_same_time: 2,
        thefts: 1,
        thief_knows_password: true,
        ..Scenario::of_ada("a thief with the password")
    }
}

/// Ada deletes her account and keeps it, or `sweep` erases it.
#[must_use]
pub fn a_deletion() -> Scenario {
    Scenario {
        kinds: [vec![DeleteAccount, KeepAccount, SignIn, ForgotPassword(Address::Ada)], vec![], vec![]],
        requests: [3, 0, 0, 2],
        faults: 1,
        time: vec![Passing::Week],
        ..Scenario::of_ada("a deletion")
    }
}

/// Ada deletes her account while she signs in, and `sweep` erases it at once.
#[must_use]
pub fn a_deletion_without_delay() -> Scenario {
    Scenario {
        kinds: [vec![DeleteAccount, SignIn, KeepAccount, ForgotPassword(Address::Ada)], vec![], vec![]],
        requests: [3, 0, 0, 2],
        faults: 2,
        erases_at_once: true,
        ..Scenario::of_ada("a deletion without delay")
    }
}

/// Ada changes her address and undoes it, and Eve signs up with the addresses that become free.
#[must_use]
pub fn a_change_of_the_address() -> Scenario {
    Scenario {
        kinds: [
            vec![
                RequestChange(Address::AdaNew),
                ChangeAddress,
                UndoChange,
                ForgotPassword(Address::Ada),
                ResetPassword,
                VerifyAddress,
            ],
            vec![],
            vec![SignUp(Address::Ada), SignUp(Address::AdaNew)],
        ],
        requests: [4, 0, 1, 1],
        faults: 1,
        ..Scenario::of_ada("a change of the address")
    }
}

/// Ada signs in on several devices, ends the other sessions, and proves her password again.
#[must_use]
pub fn sessions_of_one_account() -> Scenario {
    Scenario {
        kinds: [vec![SignIn, EndOthers, Reauthenticate, LogOut], vec![], vec![]],
        requests: [4, 0, 0, 0],
        faults: 1,
        time: vec![Passing::Minutes],
        ..Scenario::of_ada("sessions of one account")
    }
}

/// Eve has signed up with Ada's address. Ada has a reset link, and takes the account over.
#[must_use]
pub fn an_account_that_a_stranger_created() -> Scenario {
    Scenario {
        created_by: Who::Eve,
        signed_in: vec![Who::Eve],
        kinds: [
            vec![ForgotPassword(Address::Ada), ResetPassword, VerifyAddress, UndoChange],
            vec![],
            vec![SignIn, ChangePassword, RequestChange(Address::Eve), ChangeAddress],
        ],
        requests: [2, 0, 2, 1],
        reset_is_mailed: true,
        faults: 1,
        ..Scenario::of_ada("an account that a stranger created")
    }
}

/// Eve knows only Ada's and Bob's addresses. Ada and Bob wait.
#[must_use]
pub fn a_stranger_who_knows_nothing() -> Scenario {
    Scenario {
        owners: vec![Who::Ada, Who::Bob],
        signed_in: vec![Who::Ada, Who::Bob],
        kinds: [
            vec![],
            vec![],
            vec![Guess(Address::Ada), Guess(Address::Bob), ForgotPassword(Address::Ada), SignUp(Address::Ada), SignIn],
        ],
        requests: [0, 0, 5, 1],
        faults: 1,
        failures: Some(Limits { of_source: 3, of_account: 3 }),
        owners_wait: true,
        ..Scenario::of_ada("a stranger who knows nothing")
    }
}

/// Ada adds an authenticator app. Eve knows the password, and adds her own app if she can.
#[must_use]
pub fn second_factors() -> Scenario {
    Scenario {
        kinds: [
            vec![AddApp, UndoFactor, SignIn, SecondFactor, ForgotPassword(Address::Ada), ResetPassword],
            vec![],
            vec![SignIn, SecondFactor, AddApp, RemoveApp, ChangePassword],
        ],
        requests: [3, 0, 2, 1],
        thief_knows_password: true,
        ..Scenario::of_ada("second factors")
    }
}

/// Ada adds a passkey, signs in with it and removes it. Eve knows the password, and adds passkeys of her own if she can.
#[must_use]
pub fn passkeys() -> Scenario {
    Scenario {
        kinds: [
            vec![AddPasskey, SignInWithPasskey, RemovePasskey, UndoFactor],
            vec![],
            vec![SignIn, AddPasskey, SignInWithPasskey],
        ],
        requests: [2, 0, 3, 1],
        faults: 1,
        thief_knows_password: true,
        ..Scenario::of_ada("passkeys")
    }
}

/// Everything that the code has, for [`crate::walks`]. It has far too many states to visit all of them.
#[must_use]
pub fn everything() -> Scenario {
    let account = |to| {
        [SignIn, Refresh, LogOut, EndOthers, Reauthenticate, ChangePassword, ResetPassword, DeleteAccount, KeepAccount]
            .into_iter()
            .chain([VerifyAddress, RequestChange(to), ChangeAddress, UndoChange])
    };
    Scenario {
        owners: vec![Who::Ada, Who::Bob],
        signed_in: vec![Who::Ada, Who::Bob],
        kinds: [
            account(Address::AdaNew).chain([ForgotPassword(Address::Ada), ForgotPassword(Address::AdaNew)]).collect(),
            vec![SignIn, Refresh, RequestChange(Address::Ada)],
            account(Address::Eve).chain([SignUp(Address::AdaNew), SignUp(Address::Ada)]).collect(),
        ],
        addresses: vec![Address::Ada, Address::AdaNew, Address::Bob],
        requests: [u8::MAX; 4],
        at_the_same_time: 1,
        thefts: 2,
        thief_knows_password: true,
        time: vec![Passing::Seconds, Passing::Minutes, Passing::Day, Passing::Week],
        ..Scenario::of_ada("everything")
    }
}

/// Ada deletes her account, and may keep it until it is due to be erased, for [`crate::walks`].
#[must_use]
pub fn a_due_deletion() -> Scenario {
    Scenario {
        owners: vec![Who::Ada, Who::Bob],
        signed_in: vec![Who::Ada, Who::Bob],
        kinds: [vec![DeleteAccount, KeepAccount], vec![], vec![]],
        requests: [2, 0, 0, 1],
        at_the_same_time: 1,
        time: vec![Passing::Week],
        ..Scenario::of_ada("a due deletion")
    }
}

/// Everything that has to do with second factors, for [`crate::walks`]. Ada and Eve know the password. At first, the account has no factor. Each of
/// them may add an authenticator app and passkeys.
#[must_use]
pub fn everything_about_factors() -> Scenario {
    let account = || {
        [
            AddApp,
            RemoveApp,
            AddPasskey,
            RemovePasskey,
            SignIn,
            SecondFactor,
            SignInWithPasskey,
            Refresh,
            LogOut,
            EndOthers,
            ChangePassword,
            ResetPassword,
            UndoFactor,
        ]
        .into_iter()
    };
    Scenario {
        owners: vec![Who::Ada, Who::Bob],
        signed_in: vec![Who::Ada, Who::Bob],
        kinds: [account().chain([ForgotPassword(Address::Ada)]).collect(), vec![SignIn, Refresh], account().collect()],
        addresses: vec![Address::Ada, Address::Bob],
        requests: [u8::MAX; 4],
        at_the_same_time: 1,
        thefts: 1,
        thief_knows_password: true,
        time: vec![Passing::Seconds],
        ..Scenario::of_ada("everything about factors")
    }
}

impl Scenario {
    /// Ada is signed in to her account, and nothing happens.
    fn of_ada(name: &'static str) -> Self {
        Self {
            name,
            owners: vec![Who::Ada],
            created_by: Who::Ada,
            signed_in: vec![Who::Ada],
            kinds: [vec![], vec![], vec![]],
            addresses: vec![Address::Ada],
            requests: [0; 4],
            at_the_same_time: 2,
            faults: 0,
            thefts: 0,
            thief_knows_password: false,
            time: vec![],
            failures: None,
            reset_is_mailed: false,
            erases_at_once: false,
            owners_wait: false,
        }
    }

    /// The kinds of requests that a person sends.
    #[must_use]
    pub fn kinds(&self, who: Who) -> &[Kind] {
        &self.kinds[who as usize]
    }

    /// The protocol in this situation.
    #[must_use]
    pub fn with(self, store: Store, defect: Option<Defect>) -> Protocol {
        Protocol { store, scenario: self, defect }
    }

    /// The first state.
    #[must_use]
    pub fn begin(&self, protocol: &Protocol) -> World {
        let mut knowledge: [Knowledge; 3] = std::array::from_fn(|_| Knowledge::default());
        let (mut postgres, mut table, mut random) = (Postgres::default(), Table::default(), 0);
        for owner in &self.owners {
            let creator = if *owner == Who::Ada { self.created_by } else { *owner };
            let address = if *owner == Who::Ada { Address::Ada } else { Address::Bob };
            let password = Password::First(creator);
            knowledge[creator as usize].learn(password);
            let account =
                Account { is_verified: creator == *owner, ..Account::new(address, password, next(&mut random)) };
            if self.signed_in.contains(&creator) {
                let id = AccountId::try_from(postgres.accounts.len()).unwrap_or(0);
                let session = Session::new(next(&mut random), id, account.version, creator, Shown::default());
                if let Some(tokens) = Answer::tokens(session).tokens {
                    knowledge[creator as usize].receive(tokens);
                }
                match protocol.store {
                    Store::PostgreSql => postgres.sessions.push(session),
                    Store::DynamoDb => table.put(session),
                }
            }
            postgres.accounts.push(Some(account));
        }
        if self.thief_knows_password {
            knowledge[Who::Eve as usize].learn(Password::First(Who::Ada));
        }
        let mut world = World {
            postgres,
            table,
            mails: vec![],
            knowledge,
            requests: vec![],
            left: Left { requests: self.requests, faults: self.faults, thefts: self.thefts, time: self.time.clone() },
            next_random: random,
            history: History::default(),
        };
        if self.reset_is_mailed {
            let link = next(&mut world.next_random);
            world.request_reset(Address::Ada, link);
        }
        world
    }
}

fn next(random: &mut Random) -> Random {
    *random += 1;
    *random - 1
}
