use async_trait::async_trait;
use flashsale_core::PortError;
use flashsale_core::domain::{NewUser, Role, User, UserId};
use flashsale_core::ports::{CreateUserOutcome, UserRepo};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::PostgresDatabase;
use crate::database::Call;
use crate::error::fault;
use crate::rows::{self, bad};

/// The users of a [`PostgresDatabase`]. Their ids are numbers from 1.
///
/// Made by [`PostgresDatabase::users`].
#[derive(Clone, Debug)]
pub struct PostgresUserRepo(pub(crate) PostgresDatabase);

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
        let rows = self.0.fetch(OPERATION, Call::Once, query).await?;
        if let Some(row) = rows.first() {
            let user = user(row).map_err(|error| fault(OPERATION, error))?;
            return Ok(CreateUserOutcome::Created(user));
        }
        // Whoever has it stays: users are not deleted.
        Ok(match self.by_username(OPERATION, &new.username).await? {
            Some(_) => CreateUserOutcome::UsernameTaken,
            None => CreateUserOutcome::EmailTaken,
        })
    }

    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError> {
        self.by_username("find_by_username", username).await
    }
}

impl PostgresUserRepo {
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
