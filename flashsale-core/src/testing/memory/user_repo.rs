use async_trait::async_trait;

use super::MemoryDatabase;
use crate::domain::{NewUser, User, UserId};
use crate::error::PortError;
use crate::ports::{CreateUserOutcome, UserRepo};

/// The users of a [`MemoryDatabase`]; their ids are `1`, `2`, `3` and so on.
#[derive(Clone, Debug, Default)]
pub struct MemoryUserRepo {
    database: MemoryDatabase,
}

impl MemoryUserRepo {
    /// The users of this database.
    pub fn new(database: MemoryDatabase) -> Self {
        Self { database }
    }
}

#[async_trait]
impl UserRepo for MemoryUserRepo {
    async fn create(&self, new: &NewUser) -> Result<CreateUserOutcome, PortError> {
        let users = &mut self.database.tables().users;
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        if users.iter().any(|user| same(&user.username, &new.username)) {
            return Ok(CreateUserOutcome::UsernameTaken);
        }
        if users.iter().any(|user| same(&user.email, &new.email)) {
            return Ok(CreateUserOutcome::EmailTaken);
        }
        let id = (users.len() + 1).to_string();
        let user = User {
            id: UserId::new(id).expect("digits are visible ASCII"),
            username: new.username.clone(),
            email: new.email.clone(),
            full_name: new.full_name.clone(),
            password_hash: new.password_hash.clone(),
            role: new.role,
        };
        users.push(user.clone());
        Ok(CreateUserOutcome::Created(user))
    }

    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError> {
        let tables = self.database.tables();
        let mut users = tables.users.iter();
        let found = users.find(|user| user.username.eq_ignore_ascii_case(username));
        Ok(found.cloned())
    }
}
