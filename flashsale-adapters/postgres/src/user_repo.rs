use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{NewUser, Role, User, UserId};
use flashsale_core::ports::{CreateUserOutcome, UserRepo};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::{fault, misconfigured};
use crate::rows::{self, bad};

/// The users of a [`PostgresDatabase`]. Their ids are numbers from 1.
///
/// Made by [`PostgresDatabase::users`].
#[derive(Clone, Debug)]
pub struct PostgresUserRepo(pub(crate) PostgresDatabase);

/// How often a new user may get an id that somebody has. One is enough, unless others bring users
/// along at that moment.
const TRIES: u32 = 8;

#[async_trait]
impl UserRepo for PostgresUserRepo {
    async fn create(&self, new: &NewUser) -> Result<CreateUserOutcome, PortError> {
        const OPERATION: &str = "create";
        let role = match new.role {
            Role::Buyer => "BUYER",
            Role::Admin => "ADMIN",
        };
        let sql = "INSERT INTO users (username, email, full_name, password_hash, role)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
            RETURNING id, username, email, full_name, password_hash, role";
        let query = || {
            let query = sqlx::query(sql).bind(&new.username).bind(&new.email);
            let query = query.bind(new.full_name.as_deref());
            query.bind(&new.password_hash).bind(role)
        };
        for _ in 0..TRIES {
            let rows = self.0.fetch(OPERATION, Call::Once, query).await?;
            if let Some(row) = rows.first() {
                let user = user(row).map_err(|error| fault(OPERATION, error))?;
                return Ok(CreateUserOutcome::Created(user));
            }
            // Whoever has it stays: users are not deleted.
            if let Some(taken) = self.taken(OPERATION, new).await? {
                return Ok(taken);
            }
            // It was the id: users came with ids of their own, which the sequence has not passed.
            let pass = || sqlx::query("SELECT flashsale_pass_user_ids()");
            self.0.fetch(OPERATION, Call::Repeatable, pass).await?;
        }
        let remedy = "new users get ids that others have: does something set users_id_seq back?";
        Err(misconfigured(OPERATION, remedy))
    }

    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError> {
        self.by_username("find_by_username", username).await
    }
}

impl PostgresUserRepo {
    /// What of a new user somebody has, except for the id.
    async fn taken(
        &self,
        operation: &'static str,
        new: &NewUser,
    ) -> Result<Option<CreateUserOutcome>, PortError> {
        let sql = r#"SELECT
            EXISTS (SELECT FROM users
                WHERE lower(username COLLATE "C") = lower($1 COLLATE "C")),
            EXISTS (SELECT FROM users
                WHERE lower(email COLLATE "C") = lower($2 COLLATE "C"))"#;
        let query = || sqlx::query(sql).bind(&new.username).bind(&new.email);
        let rows = self.0.fetch(operation, Call::Read, query).await?;
        let taken = |row: &PgRow| -> sqlx::Result<_> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        let taken = rows.first().map(taken).transpose();
        Ok(match taken.map_err(|error| fault(operation, error))? {
            Some((true, _)) => Some(CreateUserOutcome::UsernameTaken),
            Some((false, true)) => Some(CreateUserOutcome::EmailTaken),
            Some((false, false)) | None => None,
        })
    }

    async fn by_username(
        &self,
        operation: &'static str,
        username: &str,
    ) -> Result<Option<User>, PortError> {
        if username.contains('\0') {
            // No text in PostgreSQL has one, so nobody has this name.
            return Ok(None);
        }
        let sql = r#"SELECT id, username, email, full_name, password_hash, role FROM users
            WHERE lower(username COLLATE "C") = lower($1 COLLATE "C")"#;
        let query = || sqlx::query(sql).bind(username);
        let rows = self.0.fetch(operation, Call::Read, query).await?;
        let found = rows.first().map(user).transpose();
        found.map_err(|error| fault(operation, error))
    }
}

fn user(row: &PgRow) -> sqlx::Result<User> {
    let id: i64 = row.try_get(0)?;
    Ok(User {
        id: UserId::new(id.to_string()).map_err(bad)?,
        username: row.try_get(1)?,
        email: row.try_get(2)?,
        full_name: row.try_get(3)?,
        password_hash: row.try_get(4)?,
        role: match row.try_get(5)? {
            "BUYER" => Role::Buyer,
            "ADMIN" => Role::Admin,
            other => return Err(rows::unknown(other)),
        },
    })
}
