use super::{SettingError, given};
use crate::http_config::{LOGIN_CONCURRENCY_MAX, login_concurrency_default};

/// What a password check costs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// Work factor of bcrypt; one more doubles the time of a login [default: 10]
    #[arg(long, env = "BCRYPT_COST", hide_env_values = true, value_name = "COST")]
    bcrypt_cost: Option<String>,

    /// Passwords worked on at a time [default: the cores, less one]
    #[arg(
        long,
        env = "LOGIN_CONCURRENCY",
        hide_env_values = true,
        value_name = "NUMBER"
    )]
    login_concurrency: Option<String>,
}

/// The checked form of [`PasswordArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PasswordConfig {
    /// 4 to 16.
    pub(crate) bcrypt_cost: u32,
    /// 1 to 64.
    pub(crate) login_concurrency: usize,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            bcrypt_cost: 10,
            login_concurrency: login_concurrency_default(),
        }
    }
}

impl PasswordArgs {
    /// bcrypt itself allows up to 31, which takes days.
    const COST_MAX: u32 = 16;

    /// Checks the cost.
    pub(crate) fn validate(&self) -> Result<PasswordConfig, SettingError> {
        let bcrypt_cost = match given(self.bcrypt_cost.as_deref()) {
            None => PasswordConfig::default().bcrypt_cost,
            Some(text) => text
                .parse()
                .ok()
                .filter(|cost| (4..=Self::COST_MAX).contains(cost))
                .ok_or_else(|| {
                    let allowed = "must be a number from 4 to 16 (10 takes about 60 ms)";
                    SettingError::value("BCRYPT_COST", text, allowed)
                })?,
        };
        let login_concurrency = match given(self.login_concurrency.as_deref()) {
            None => PasswordConfig::default().login_concurrency,
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=LOGIN_CONCURRENCY_MAX).contains(number))
                .ok_or_else(|| {
                    let allowed = "must be a number from 1 to 64 (the cores, less one)";
                    SettingError::value("LOGIN_CONCURRENCY", text, allowed)
                })?,
        };
        Ok(PasswordConfig {
            bcrypt_cost,
            login_concurrency,
        })
    }
}
