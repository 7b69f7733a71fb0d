use std::fmt;

use super::UserId;

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Buys.
    #[default]
    Buyer,
    /// Also manages sales.
    Admin,
}

/// A registered user.
///
/// The password hash does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Names the user everywhere else.
    pub id: UserId,
    /// What the user logs in with; 3 to 64 characters, unique.
    pub username: String,
    /// Unique.
    pub email: String,
    /// As the person writes it.
    pub full_name: Option<String>,
    /// What a [`PasswordHasher`](crate::ports::PasswordHasher) made of the password.
    pub password_hash: String,
    /// What the user may do.
    pub role: Role,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("username", &self.username)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// A user about to be stored; the repository gives the id.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// See [`User::username`].
    pub username: String,
    /// See [`User::email`].
    pub email: String,
    /// See [`User::full_name`].
    pub full_name: Option<String>,
    /// See [`User::password_hash`].
    pub password_hash: String,
    /// See [`User::role`].
    pub role: Role,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("username", &self.username)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
