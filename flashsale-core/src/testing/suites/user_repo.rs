//! The suite of [`UserRepo`](crate::ports::UserRepo).

use std::sync::Arc;

use super::{fresh_place, race};
use crate::domain::{NewUser, Role, User};
use crate::ports::{CreateUserOutcome, UserRepo};
use crate::testing::report::{Checked, Ran, ensure, ensure_eq, run_cases};
use crate::testing::samples::fresh_number;
use crate::testing::{Fixture, Report, Violation};

type Rig = Arc<dyn UserRepo>;
type Rigs<'a> = &'a dyn Fixture<Rig>;

/// Checks a [`UserRepo`] against its contract.
pub async fn user_repo(fixture: &dyn Fixture<Arc<dyn UserRepo>>) -> Report {
    let mut report = Report::new("UserRepo");
    run_cases!(
        report,
        fixture,
        [
            a_user_is_stored_with_an_id_of_its_own,
            usernames_are_unique_without_regard_to_case,
            email_addresses_are_unique_without_regard_to_case,
            a_refused_user_is_not_stored,
            a_user_is_found_without_regard_to_case,
            an_unknown_user_is_not_found,
            of_users_with_one_name_created_at_the_same_time_one_is_stored,
            of_users_with_one_address_created_at_the_same_time_one_is_stored,
            users_survive_a_reopen,
        ]
    );
    report
}

async fn open(rigs: Rigs<'_>) -> Result<Rig, Violation> {
    Ok(rigs.open(&fresh_place("users")).await?)
}

/// A user whose name and address nobody else has.
fn fresh() -> NewUser {
    let number = fresh_number();
    NewUser {
        username: format!("Ann-{number}"),
        email: format!("Ann-{number}@Example.org"),
        full_name: Some("Ann Ängström".to_owned()),
        password_hash: "$2b$12$nobody".to_owned(),
        role: Role::Buyer,
    }
}

async fn create(repo: &Rig, new: &NewUser) -> Result<User, Violation> {
    match repo.create(new).await? {
        CreateUserOutcome::Created(user) => Ok(user),
        other @ (CreateUserOutcome::UsernameTaken | CreateUserOutcome::EmailTaken) => Err(
            Violation::new(format!("{new:?} must be created, is {other:?}")),
        ),
    }
}

async fn a_user_is_stored_with_an_id_of_its_own(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let admin = NewUser {
        role: Role::Admin,
        full_name: None,
        ..fresh()
    };
    let mut ids = Vec::new();
    for new in [fresh(), admin] {
        let user = create(&repo, &new).await?;
        ensure_eq!("the name", user.username, new.username);
        ensure_eq!("the address", user.email, new.email);
        ensure_eq!("the full name", user.full_name, new.full_name);
        ensure_eq!("the hash", user.password_hash, new.password_hash);
        ensure_eq!("the role", user.role, new.role);
        let found = repo.find_by_username(&new.username).await?;
        ensure_eq!("the user who is found", found, Some(user.clone()));
        ids.push(user.id);
    }
    ensure!(ids[0] != ids[1], "two users must have two ids");
    Ok(Ran::Yes)
}

async fn usernames_are_unique_without_regard_to_case(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let first = create(&repo, &fresh()).await?;
    let names = [
        first.username.clone(),
        first.username.to_ascii_lowercase(),
        first.username.to_ascii_uppercase(),
    ];
    for username in names {
        let second = NewUser {
            username,
            ..fresh()
        };
        let outcome = repo.create(&second).await?;
        ensure_eq!(second.username, outcome, CreateUserOutcome::UsernameTaken);
    }
    Ok(Ran::Yes)
}

async fn email_addresses_are_unique_without_regard_to_case(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let first = create(&repo, &fresh()).await?;
    let addresses = [
        first.email.clone(),
        first.email.to_ascii_lowercase(),
        first.email.to_ascii_uppercase(),
    ];
    for email in addresses {
        let second = NewUser { email, ..fresh() };
        let outcome = repo.create(&second).await?;
        ensure_eq!(second.email, outcome, CreateUserOutcome::EmailTaken);
    }
    Ok(Ran::Yes)
}

async fn a_refused_user_is_not_stored(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let first = create(&repo, &fresh()).await?;
    let thief = NewUser {
        password_hash: "another".to_owned(),
        username: first.username.to_ascii_lowercase(),
        ..fresh()
    };
    repo.create(&thief).await?;
    let found = repo.find_by_username(&first.username).await?;
    ensure_eq!("the user", found, Some(first.clone()));
    let second = NewUser {
        email: first.email.clone(),
        ..fresh()
    };
    repo.create(&second).await?;
    let found = repo.find_by_username(&second.username).await?;
    ensure_eq!("the refused name", found, None);
    create(
        &repo,
        &NewUser {
            email: thief.email,
            ..fresh()
        },
    )
    .await?;
    Ok(Ran::Yes)
}

async fn a_user_is_found_without_regard_to_case(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let user = create(&repo, &fresh()).await?;
    let names = [
        user.username.to_ascii_lowercase(),
        user.username.to_ascii_uppercase(),
    ];
    for name in names {
        let found = repo.find_by_username(&name).await?;
        ensure_eq!(name, found.as_ref(), Some(&user));
    }
    Ok(Ran::Yes)
}

async fn an_unknown_user_is_not_found(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let user = create(&repo, &fresh()).await?;
    let names = [
        fresh().username,
        String::new(),
        "%".to_owned(),
        format!("{}%", &user.username[..3]),
        format!("{} ", user.username),
    ];
    for name in names {
        let found = repo.find_by_username(&name).await?;
        ensure_eq!(format!("{name:?}"), found, None);
    }
    Ok(Ran::Yes)
}

/// Creates all users at the same time.
async fn create_all(
    rigs: Rigs<'_>,
    repo: &Rig,
    users: impl Iterator<Item = NewUser>,
) -> Result<Vec<CreateUserOutcome>, Violation> {
    let calls = users.map(|user| {
        let repo = Arc::clone(repo);
        async move { repo.create(&user).await }
    });
    race(rigs, calls).await
}

fn created(outcomes: &[CreateUserOutcome]) -> usize {
    let created = |o: &&CreateUserOutcome| matches!(o, CreateUserOutcome::Created(_));
    outcomes.iter().filter(created).count()
}

async fn of_users_with_one_name_created_at_the_same_time_one_is_stored(rigs: Rigs<'_>) -> Checked {
    let repo = open(rigs).await?;
    let username = fresh().username;
    let users = (0..8).map(|i| NewUser {
        username: if i % 2 == 0 {
            username.clone()
        } else {
            username.to_ascii_lowercase()
        },
        ..fresh()
    });
    let outcomes = create_all(rigs, &repo, users).await?;
    let taken = outcomes
        .iter()
        .filter(|o| **o == CreateUserOutcome::UsernameTaken);
    ensure_eq!(
        "created and taken",
        (created(&outcomes), taken.count()),
        (1, 7)
    );
    Ok(Ran::Yes)
}

async fn of_users_with_one_address_created_at_the_same_time_one_is_stored(
    rigs: Rigs<'_>,
) -> Checked {
    let repo = open(rigs).await?;
    let email = fresh().email;
    let users = (0..8).map(|i| NewUser {
        email: if i % 2 == 0 {
            email.clone()
        } else {
            email.to_ascii_uppercase()
        },
        ..fresh()
    });
    let outcomes = create_all(rigs, &repo, users).await?;
    let taken = outcomes
        .iter()
        .filter(|o| **o == CreateUserOutcome::EmailTaken);
    ensure_eq!(
        "created and taken",
        (created(&outcomes), taken.count()),
        (1, 7)
    );
    Ok(Ran::Yes)
}

async fn users_survive_a_reopen(rigs: Rigs<'_>) -> Checked {
    if !rigs.durable() {
        return Ok(Ran::Skipped);
    }
    let place = fresh_place("users");
    let repo = rigs.open(&place).await?;
    let user = create(&repo, &fresh()).await?;
    drop(repo);
    let repo = rigs.open(&place).await?;
    let found = repo.find_by_username(&user.username).await?;
    ensure_eq!("the user", found, Some(user.clone()));
    let again = NewUser {
        username: user.username.to_ascii_uppercase(),
        ..fresh()
    };
    let outcome = repo.create(&again).await?;
    ensure_eq!("the name again", outcome, CreateUserOutcome::UsernameTaken);
    let other = create(&repo, &fresh()).await?;
    ensure!(other.id != user.id, "a new user must have a new id");
    Ok(Ran::Yes)
}
