//! Settings: one small struct per concern, taken from flags and environment variables.
//!
//! Everything comes in as text and is checked by `validate`, so that a wrong value is answered
//! with one line that names the variable, the value (never a secret) and what is allowed.

mod duration;
mod listen;
mod log;
mod password;
#[cfg(feature = "distributed")]
mod queue;
mod role;
mod store;
mod token;

pub(crate) use duration::duration_ms;
pub(crate) use listen::{ListenArgs, ListenConfig};
pub(crate) use log::{LogArgs, LogConfig, LogFormat};
pub(crate) use password::{PasswordArgs, PasswordConfig};
#[cfg(feature = "distributed")]
pub(crate) use queue::{QueueArgs, QueueConfig};
pub(crate) use role::RoleArgs;
#[cfg(feature = "distributed")]
pub(crate) use store::ServersConfig;
pub(crate) use store::{FileConfig, StoreArgs, StoreConfig};
pub(crate) use token::{Secret, TokenArgs, TokenConfig};

/// A setting that cannot be used. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingError {
    /// The value is not allowed.
    #[error("{setting} is {value:?}: {allowed}")]
    Value {
        /// The variable.
        setting: &'static str,
        /// Its value; never that of a secret.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The value of a secret is not allowed; it is not shown.
    #[error("{setting} {problem}")]
    Secret {
        /// The variable.
        setting: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl SettingError {
    /// `value` is not what `setting` can be.
    pub(crate) fn value(
        setting: &'static str,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Value {
            setting,
            value: value.into(),
            allowed: allowed.into(),
        }
    }
}

/// The text of a setting that was given; an empty one counts as not given, because that is how
/// compose files and shells pass a variable on that nobody set.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
