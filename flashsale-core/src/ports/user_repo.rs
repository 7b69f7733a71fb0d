use std::fmt::Debug;

use async_trait::async_trait;

use crate::domain::{NewUser, User};
use crate::error::PortError;

/// Keeps the users.
#[async_trait]
pub trait UserRepo: Debug + Send + Sync + 'static {
    /// Stores a user. Usernames and e-mail addresses are unique, without regard to the case of
    /// ASCII letters; of two users created with one name at the same time, one is stored.
    async fn create(&self, user: &NewUser) -> Result<CreateUserOutcome, PortError>;

    /// The user who logs in with this name, without regard to the case of ASCII letters.
    async fn find_by_username(&self, username: &str) -> Result<Option<User>, PortError>;
}

/// What became of a [`NewUser`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateUserOutcome {
    /// Stored, with its id.
    Created(User),
    /// Another user has the name.
    UsernameTaken,
    /// Another user has the e-mail address.
    EmailTaken,
}
