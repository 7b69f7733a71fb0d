//! The suite of [`TokenIssuer`](crate::ports::TokenIssuer).

use std::sync::Arc;

use crate::domain::{Role, UserId};
use crate::ports::{Claims, InvalidToken, IssuedToken, TokenIssuer};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::samples::{START, user};
use crate::testing::{Report, Violation};

/// What the suite of [`TokenIssuer`] works with.
#[derive(Clone, Debug)]
pub struct TokenIssuers {
    /// The issuer to check.
    pub issuer: Arc<dyn TokenIssuer>,
    /// One with another key.
    pub stranger: Arc<dyn TokenIssuer>,
}

/// Checks a [`TokenIssuer`] against its contract. Its time is the year 2027.
pub async fn token_issuer(issuers: &TokenIssuers) -> Report {
    let mut report = Report::new("TokenIssuer");
    run_cases!(
        report,
        issuers,
        [
            a_token_says_who_holds_it,
            a_token_is_valid_from_its_issue_to_its_end,
            a_token_of_another_key_is_not_ours,
            a_tampered_token_is_not_genuine,
            a_truncated_token_is_not_genuine,
            garbage_is_not_a_token,
        ]
    );
    report
}

fn issue(issuer: &dyn TokenIssuer, user: &UserId, role: Role) -> Result<IssuedToken, Violation> {
    Ok(issuer.issue(user, "ann", role, START)?)
}

async fn a_token_says_who_holds_it(issuers: &TokenIssuers) -> Checked {
    let longest: String = ('!'..='~').take(64).collect();
    let longest = UserId::new(longest).expect("visible ASCII");
    for user in [user(1), longest] {
        for role in [Role::Buyer, Role::Admin] {
            let issued = issue(&*issuers.issuer, &user, role)?;
            let claims = issuers.issuer.verify(&issued.token, START);
            let user = user.clone();
            ensure_eq!("the claims", claims, Ok(Claims { user, role }));
        }
    }
    Ok(Ran::Yes)
}

async fn a_token_is_valid_from_its_issue_to_its_end(issuers: &TokenIssuers) -> Checked {
    let issued = issue(&*issuers.issuer, &user(1), Role::Buyer)?;
    ensure!(
        issued.expires_at > START,
        "a token must be valid for a while"
    );
    let valid = |at| issuers.issuer.verify(&issued.token, at).is_ok();
    let end = issued.expires_at;
    ensure!(valid(START), "it must be valid when it is issued");
    ensure!(
        valid(end.plus_ms(-1)),
        "it must be valid 1 ms before its end"
    );
    ensure!(!valid(end), "it must not be valid at its end");
    ensure!(
        !valid(end.plus_ms(86_400_000)),
        "it must not be valid a day after its end"
    );
    ensure!(
        !valid(START.plus_ms(-86_400_000)),
        "it must not be valid a day before its issue"
    );
    Ok(Ran::Yes)
}

async fn a_token_of_another_key_is_not_ours(issuers: &TokenIssuers) -> Checked {
    let issued = issue(&*issuers.stranger, &user(1), Role::Admin)?;
    let claims = issuers.issuer.verify(&issued.token, START);
    ensure_eq!("a stranger's token", claims, Err(InvalidToken));
    ensure!(
        issuers.stranger.verify(&issued.token, START).is_ok(),
        "the stranger must know his own token"
    );
    Ok(Ran::Yes)
}

async fn a_tampered_token_is_not_genuine(issuers: &TokenIssuers) -> Checked {
    let token = issue(&*issuers.issuer, &user(1), Role::Buyer)?.token;
    for at in (0..token.len()).filter(|at| token.is_char_boundary(*at)) {
        let old = token[at..].chars().next().unwrap_or_default();
        // A base64 digit at the end of a part may carry bits that count for nothing, so the
        // exchanged digits differ in their highest bits.
        let new = if old.is_ascii_uppercase() { 'z' } else { 'A' };
        let tampered = format!("{}{new}{}", &token[..at], &token[at + old.len_utf8()..]);
        let claims = issuers.issuer.verify(&tampered, START);
        ensure!(
            claims.is_err(),
            "the token with byte {at} exchanged must not be genuine"
        );
    }
    let other = issue(&*issuers.issuer, &user(2), Role::Admin)?.token;
    let middle = token.len() / 2;
    if other.len() == token.len() && other != token {
        let spliced = format!("{}{}", &token[..middle], &other[middle..]);
        let known = spliced == token || spliced == other;
        let claims = issuers.issuer.verify(&spliced, START);
        ensure!(known || claims.is_err(), "two halves must not make a token");
    }
    Ok(Ran::Yes)
}

async fn a_truncated_token_is_not_genuine(issuers: &TokenIssuers) -> Checked {
    let token = issue(&*issuers.issuer, &user(1), Role::Buyer)?.token;
    for end in (0..token.len()).filter(|end| token.is_char_boundary(*end)) {
        let claims = issuers.issuer.verify(&token[..end], START);
        ensure!(claims.is_err(), "the first {end} bytes must not be a token");
    }
    for longer in [
        format!("{token}A"),
        format!("{token}."),
        format!(" {token}"),
    ] {
        let claims = issuers.issuer.verify(&longer, START);
        ensure!(
            claims.is_err(),
            "a token with something added must not be genuine"
        );
    }
    Ok(Ran::Yes)
}

async fn garbage_is_not_a_token(issuers: &TokenIssuers) -> Checked {
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwiZXhwIjo0MTAyNDQ0ODAwfQ.";
    let long = "x".repeat(100_000);
    let garbage = [
        "", " ", ".", "..", "...", "a.b.c", "Bearer x", "ä", "\u{0}", unsigned, &long,
    ];
    for token in garbage {
        let claims = issuers.issuer.verify(token, START);
        let start: String = token.chars().take(20).collect();
        ensure_eq!(format!("{start:?}"), claims, Err(InvalidToken));
    }
    Ok(Ran::Yes)
}
