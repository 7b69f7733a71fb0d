use std::sync::Arc;

use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{NewUser, Role, User};
use flashsale_core::ports::{CreateUserOutcome, UserRepo};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::engine::Engine;
use crate::rows;

/// The users, in the engine's file. Their ids are numbers from 1.
///
/// Made by [`EmbeddedEngine::users`](crate::EmbeddedEngine::users).
#[derive(Clone, Debug)]
pub struct EmbeddedUserRepo(pub(crate) Arc<Engine>);

const USER: &str =
    "SELECT CAST(id AS TEXT), username, email, full_name, password_hash, role FROM users";

#[async_trait]
impl UserRepo for EmbeddedUserRepo {
    async fn create(&self, user: &NewUser) -> Result<CreateUserOutcome, PortError> {
        self.0
            .journal
            .write("create", |transaction| create(transaction, user))
    }

    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError> {
        self.0
            .read("find_by_username", |reader| by_username(reader, username))
    }
}

fn create(transaction: &Transaction<'_>, new: &NewUser) -> rusqlite::Result<CreateUserOutcome> {
    let role = match new.role {
        Role::Buyer => "BUYER",
        Role::Admin => "ADMIN",
    };
    let sql = "INSERT INTO users (username, email, full_name, password_hash, role)
        VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let inserted = transaction.prepare_cached(sql)?.execute(params![
        new.username,
        new.email,
        new.full_name,
        new.password_hash,
        role,
    ])?;
    let user = by_username(transaction, &new.username)?;
    Ok(match user {
        Some(user) if inserted == 1 => CreateUserOutcome::Created(user),
        Some(_) => CreateUserOutcome::UsernameTaken,
        None => CreateUserOutcome::EmailTaken,
    })
}

fn by_username(connection: &Connection, username: &str) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!("{USER} WHERE username = ?1"))?
        .query_row([username], user)
        .optional()
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: rows::user_id(row, 0)?,
        username: row.get(1)?,
        email: row.get(2)?,
        full_name: row.get(3)?,
        password_hash: row.get(4)?,
        role: match row.get_ref(5)?.as_str()? {
            "BUYER" => Role::Buyer,
            "ADMIN" => Role::Admin,
            other => return Err(rows::unknown(5, other)),
        },
    })
}
