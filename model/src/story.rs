//! A path through the model in words.

use stateright::Path;

use crate::{
    endpoints::{Answer, Call, Operation, Request},
    protocol::{Action, How, Protocol, Store},
    world::{Address, Passing, Password, Who, World},
};

/// What happens on a path, one sentence or two for each step.
#[must_use]
pub fn tell(protocol: &Protocol, path: Path<World, Action>) -> Vec<String> {
    let steps = path.into_vec();
    let happened = steps.iter().filter_map(|(world, action)| Some((world, (*action)?)));
    happened.map(|(world, action)| step(protocol, world, action)).collect()
}

/// What happens in one step.
fn step(protocol: &Protocol, world: &World, action: Action) -> String {
    let done = protocol.apply(&mut world.clone(), action);
    match (action, done.request) {
        (Action::Send(Who::Sweep, call), _) => format!("`sweep` begins {}.", route(call)),
        (Action::Send(who, call), _) => format!("{} sends `{}`{}.", name(who), route(call), details(call)),
        (Action::Run(_, how), Some(request)) => ran(protocol, &request, how, done.answer.as_ref()),
        (Action::Run(..), None) => String::new(),
        (Action::CopyRefreshToken(session), _) => format!("Eve copies the refresh token of session {session}."),
        (Action::CopyAccessToken(session), _) => format!("Eve copies the access token of session {session}."),
        (Action::Pass(time), _) => format!("{} pass.", duration(time)),
    }
}

fn ran(protocol: &Protocol, request: &Request, how: How, answer: Option<&Answer>) -> String {
    let (client, effect) = (name(request.by), effect(protocol, request));
    match how {
        _ if request.is_late => format!("The call that was still on its way takes effect: {effect}."),
        How::Normally | How::SecondCallFirst => match answer {
            None => format!("For {client}, {effect}."),
            Some(answer) => format!("For {client}, {effect}. The answer is {}.", status(answer)),
        },
        How::ThenStop => format!("For {client}, {effect}. Then the function stops, and {client} gets no answer."),
        How::AnswerLost => {
            format!("For {client}, {effect}. The function does not learn it, and sends it again.")
        }
        How::Later => format!("{client}'s function stops while a call is on its way: {effect}."),
    }
}

fn status(answer: &Answer) -> String {
    match answer.code {
        Some(code) => format!("{} `{code}`", answer.status),
        None => answer.status.to_string(),
    }
}

fn name(who: Who) -> &'static str {
    match who {
        Who::Ada => "Ada",
        Who::Bob => "Bob",
        Who::Eve => "Eve",
        Who::Sweep => "`sweep`",
    }
}

fn address(address: Address) -> &'static str {
    match address {
        Address::Ada => "Ada's address",
        Address::AdaNew => "Ada's new address",
        Address::Bob => "Bob's address",
        Address::Eve => "Eve's address",
    }
}

fn password(password: Password) -> String {
    match password {
        Password::First(who) => format!("{}'s first password", name(who)),
        Password::Second(who) => format!("{}'s second password", name(who)),
        Password::Guess => "a guessed password".to_owned(),
    }
}

fn duration(time: Passing) -> &'static str {
    match time {
        Passing::Seconds => "More than ten seconds",
        Passing::Minutes => "More than ten minutes",
        Passing::Day => "More than 24 hours",
        Passing::Week => "More than seven days",
    }
}

/// The route of a call. The two tasks of `sweep` have none.
fn route(call: Call) -> &'static str {
    match call {
        Call::SignUp(..) => "POST /api/signup",
        Call::SignIn(..) => "POST /api/signin",
        Call::SecondFactor(..) => "POST /api/signin/second-factor",
        Call::SignInWithPasskey(_) => "POST /api/signin/passkey",
        Call::Refresh(..) => "POST /api/refresh",
        Call::LogOut(_) => "POST /api/logout",
        Call::EndOthers(..) => "DELETE /api/sessions",
        Call::Reauthenticate(..) => "POST /api/reauthenticate",
        Call::ChangePassword(..) => "POST /api/change-password",
        Call::ForgotPassword(_) => "POST /api/forgot-password",
        Call::ResetPassword(..) => "POST /api/reset-password/{token}",
        Call::DeleteAccount(..) => "DELETE /api/account",
        Call::KeepAccount(_) => "POST /api/keep-account/{token}",
        Call::VerifyAddress(..) => "POST /api/verify-email/{token}",
        Call::RequestChange(..) => "POST /api/change-email",
        Call::ChangeAddress(..) => "POST /api/change-email/{token}",
        Call::UndoChange(_) => "POST /api/undo-email-change/{token}",
        Call::AddApp(..) => "POST /api/totp/confirm",
        Call::RemoveApp(..) => "DELETE /api/totp",
        Call::AddPasskey(..) => "POST /api/passkeys",
        Call::RemovePasskey(..) => "DELETE /api/passkeys/{id}",
        Call::UndoFactor(_) => "POST /api/undo-factor/{token}",
        Call::Settle(..) => "to settle a debt",
        Call::Erase(..) => "to erase an account",
    }
}

fn details(call: Call) -> String {
    match call {
        Call::SignUp(to, secret) | Call::SignIn(to, secret) => {
            format!(" with {} and {}", address(to), password(secret))
        }
        Call::Refresh(session, token) => format!(" with the refresh token {token} of session {session}"),
        Call::LogOut(session)
        | Call::EndOthers(session, _)
        | Call::DeleteAccount(session, _)
        | Call::AddApp(session, _)
        | Call::RemoveApp(session, _)
        | Call::AddPasskey(session, _) => {
            format!(" in session {session}")
        }
        Call::Reauthenticate(session, secret) => format!(" in session {session} with {}", password(secret)),
        Call::ChangePassword(session, current, new) => {
            format!(" in session {session}, from {} to {}", password(current), password(new))
        }
        Call::ForgotPassword(of) => format!(" for {}", address(of)),
        Call::RequestChange(session, _, to) => format!(" in session {session}, to {}", address(to)),
        Call::ResetPassword(link, secret) | Call::VerifyAddress(link, secret) | Call::ChangeAddress(link, secret) => {
            format!(" with the link {link} and {}", password(secret))
        }
        Call::KeepAccount(link) | Call::UndoChange(link) | Call::UndoFactor(link) => format!(" with the link {link}"),
        Call::RemovePasskey(session, _, passkey) => format!(" in session {session}, for the passkey {passkey}"),
        Call::SecondFactor(_, Some(passkey)) | Call::SignInWithPasskey(passkey) => {
            format!(" with the passkey {passkey}")
        }
        Call::SecondFactor(_, None) => " with a code".to_owned(),
        Call::Settle(..) | Call::Erase(..) => String::new(),
    }
}

/// What the next operation of a request does.
fn effect(protocol: &Protocol, request: &Request) -> &'static str {
    let in_table = protocol.store == Store::DynamoDb;
    match &request.next {
        Operation::First => first_effect(request.call, in_table),
        Operation::ReadAccount(_) => "PostgreSQL reads the account, and the password is checked",
        Operation::Change(_) => changed(request.call, in_table),
        Operation::ChangeByLink(..) if matches!(request.call, Call::VerifyAddress(..)) => {
            "PostgreSQL verifies the address"
        }
        Operation::ChangeByLink(..) => "PostgreSQL changes the address",
        Operation::Open(_) => "PostgreSQL opens the session",
        Operation::PutAndQuery(_) | Operation::Put(..) => "DynamoDB stores the new session",
        Operation::Query(_) => "DynamoDB reads the minimum version",
        Operation::Keep(..) => "DynamoDB keeps the session, if it is as it was found",
        Operation::RaiseFor(_) | Operation::Raise(..) | Operation::RaiseAfterKeeping(..) => {
            "DynamoDB raises the minimum version"
        }
        Operation::SettleFor(_) | Operation::Settle(..) | Operation::SettleAfterKeeping(..) => {
            "PostgreSQL deletes the debt"
        }
        Operation::RefreshItem(..) => "DynamoDB changes the session, if it is as it was read",
        Operation::DeleteItem(_) | Operation::DeleteOthers(..) => "DynamoDB deletes the session",
        Operation::QueryOthers(..) => "DynamoDB reads the other sessions",
        Operation::Redeem(_) | Operation::CommitAfterEnding(..) => "PostgreSQL uses the link and sets the password",
        Operation::EraseItems(..) => "DynamoDB deletes the items of the account",
        Operation::EraseAccount(..) => "PostgreSQL deletes the account",
    }
}

fn first_effect(call: Call, in_table: bool) -> &'static str {
    match call {
        Call::SignUp(..) => "PostgreSQL creates the account, if the address is free",
        Call::SignIn(..) => "PostgreSQL reads the account, and the password is checked",
        Call::SecondFactor(..) => "PostgreSQL finds the token, and the factor is checked",
        Call::SignInWithPasskey(_) => "PostgreSQL finds the passkey, and the assertion is checked",
        Call::Refresh(..) if in_table => "DynamoDB reads the session",
        Call::Refresh(..) => "PostgreSQL decides about the refresh token",
        Call::LogOut(_) if in_table => "DynamoDB deletes the session",
        Call::LogOut(_) => "PostgreSQL ends the session",
        Call::EndOthers(..)
        | Call::DeleteAccount(..)
        | Call::RequestChange(..)
        | Call::AddApp(..)
        | Call::RemoveApp(..)
        | Call::AddPasskey(..)
        | Call::RemovePasskey(..)
        | Call::Reauthenticate(..)
        | Call::ChangePassword(..) => "the session is found live",
        Call::ForgotPassword(_) => "PostgreSQL stores a new reset link",
        Call::ResetPassword(..) => "PostgreSQL finds the account of the link",
        Call::KeepAccount(_) => "PostgreSQL takes the deletion back",
        Call::VerifyAddress(..) | Call::ChangeAddress(..) => {
            "PostgreSQL finds the account of the link, and the password is checked"
        }
        Call::UndoChange(_) => "PostgreSQL restores the address",
        Call::UndoFactor(_) => "PostgreSQL removes the factor and what was added since",
        Call::Erase(..) if !in_table => "PostgreSQL deletes the account",
        Call::Settle(..) | Call::Erase(..) => "DynamoDB raises the minimum version",
    }
}

fn changed(call: Call, in_table: bool) -> &'static str {
    match call {
        Call::EndOthers(..) => "PostgreSQL ends the other sessions",
        Call::Reauthenticate(..) if in_table => "DynamoDB makes the session fresh",
        Call::Reauthenticate(..) => "PostgreSQL makes the session fresh",
        Call::ChangePassword(..) => "PostgreSQL sets the password",
        Call::DeleteAccount(..) => "PostgreSQL deletes the account for later erasure",
        Call::RequestChange(..) => "PostgreSQL stores the requested address",
        Call::RemoveApp(..) | Call::RemovePasskey(..) => "PostgreSQL removes the factor",
        _ => "PostgreSQL adds the factor",
    }
}
