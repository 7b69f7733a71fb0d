use std::fmt;
use std::sync::Arc;

use crate::domain::{NewUser, Role, User, UserId};
use crate::error::{ErrorKind, PortError};
use crate::ports::{
    Claims, Clock, CreateUserOutcome, InvalidToken, IssuedToken, PasswordHasher, TokenIssuer,
    UserRepo,
};

/// Knows who a buyer is.
#[derive(Clone, Debug)]
pub struct AuthService {
    /// Keeps the users.
    pub users: Arc<dyn UserRepo>,
    /// Checks their passwords.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Makes and checks their tokens.
    pub tokens: Arc<dyn TokenIssuer>,
    /// Tells when a token ends.
    pub clock: Arc<dyn Clock>,
}

/// What a person enters to become a user. The password does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// 3 to 64 characters, no blanks or control characters.
    pub username: String,
    /// One `@` with something on both sides, no blanks, at most 254 bytes.
    pub email: String,
    /// At least 6 characters, at most what the hasher takes in full.
    pub password: String,
    /// At most 200 characters.
    pub full_name: Option<String>,
    /// What the user may do.
    pub role: Role,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A field of a [`Registration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The username.
    Username,
    /// The e-mail address.
    Email,
    /// The password.
    Password,
    /// The full name.
    FullName,
}

/// Why a [`Registration`] cannot be taken, for the person who entered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationInvalid {
    /// What is wrong.
    pub field: Field,
    /// What it has to be.
    pub rule: String,
}

/// What became of a [`Registration`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// There is a new user.
    Registered(User),
    /// Another user has the name.
    UsernameTaken,
    /// Another user has the e-mail address.
    EmailTaken,
    /// A field breaks its rule.
    Invalid(RegistrationInvalid),
}

/// What became of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The password is right.
    LoggedIn(LoginSuccess),
    /// The user does not exist or the password is wrong; which of them is not told.
    InvalidCredentials,
    /// The hasher cannot read what is kept of this user's password, so no password is right. For
    /// the person who logs in it is the same as [`InvalidCredentials`](Self::InvalidCredentials),
    /// and took as long; an operator wants to know.
    HashUnreadable(UserId),
}

/// A user who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginSuccess {
    /// Who.
    pub user: UserId,
    /// What shows it from now on.
    pub token: IssuedToken,
}

impl AuthService {
    /// Makes a user.
    ///
    /// # Errors
    /// If a port fails; [`Busy`](crate::ErrorKind::Busy) if too many passwords wait.
    pub async fn register(&self, registration: Registration) -> Result<RegisterOutcome, PortError> {
        if let Err(invalid) = self.validate(&registration) {
            return Ok(RegisterOutcome::Invalid(invalid));
        }
        if self
            .users
            .find_by_username(&registration.username)
            .await?
            .is_some()
        {
            return Ok(RegisterOutcome::UsernameTaken);
        }
        let new = NewUser {
            password_hash: self.hasher.hash(&registration.password).await?,
            username: registration.username,
            email: registration.email,
            full_name: registration.full_name,
            role: registration.role,
        };
        Ok(match self.users.create(&new).await? {
            CreateUserOutcome::Created(user) => RegisterOutcome::Registered(user),
            CreateUserOutcome::UsernameTaken => RegisterOutcome::UsernameTaken,
            CreateUserOutcome::EmailTaken => RegisterOutcome::EmailTaken,
        })
    }

    /// Gives a token for a password. Takes about as long for an unknown user as for a known one.
    ///
    /// # Errors
    /// If a port fails; [`Busy`](crate::ErrorKind::Busy) if too many passwords wait.
    pub async fn login(&self, username: &str, password: &str) -> Result<LoginOutcome, PortError> {
        let user = self.users.find_by_username(username).await?;
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        let right = match self.hasher.verify(password, hash).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let Some(user) = user else { return Err(error) };
                // The check that could not be made, so that time does not tell.
                self.hasher.verify(password, None).await?;
                return Ok(LoginOutcome::HashUnreadable(user.id));
            }
            checked => checked?,
        };
        match user {
            Some(user) if right => {
                let now = self.clock.now();
                let token = self
                    .tokens
                    .issue(&user.id, &user.username, user.role, now)?;
                Ok(LoginOutcome::LoggedIn(LoginSuccess {
                    user: user.id,
                    token,
                }))
            }
            Some(_) | None => Ok(LoginOutcome::InvalidCredentials),
        }
    }

    /// What a token says now.
    ///
    /// # Errors
    /// [`InvalidToken`] if it is not genuine or not valid now.
    pub fn verify(&self, token: &str) -> Result<Claims, InvalidToken> {
        self.tokens.verify(token, self.clock.now())
    }

    fn validate(&self, registration: &Registration) -> Result<(), RegistrationInvalid> {
        let invalid = |field, rule: &str| {
            let rule = rule.to_owned();
            Err(RegistrationInvalid { field, rule })
        };
        let blank = |c: char| c.is_whitespace() || c.is_control();
        if !(3..=64).contains(&registration.username.chars().count())
            || registration.username.contains(blank)
        {
            return invalid(
                Field::Username,
                "must have 3 to 64 characters without blanks",
            );
        }
        let email_parts = registration.email.split_once('@');
        let shaped = email_parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
        if !shaped || registration.email.len() > 254 || registration.email.contains(blank) {
            return invalid(Field::Email, "must be an address like name@example.org");
        }
        let most = self.hasher.password_max();
        let long_enough = registration.password.chars().count() >= 6;
        if !long_enough
            || registration.password.len() > most
            || registration.password.contains('\0')
        {
            let rule = format!("must have at least 6 characters and at most {most} bytes");
            return invalid(Field::Password, &rule);
        }
        let full_name = registration.full_name.as_deref().unwrap_or_default();
        if full_name.chars().count() > 200 || full_name.contains(char::is_control) {
            return invalid(
                Field::FullName,
                "must have at most 200 characters, none of them control characters",
            );
        }
        Ok(())
    }
}
