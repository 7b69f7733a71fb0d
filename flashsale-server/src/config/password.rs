use super::{SettingError, given};

/// What a password check costs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// Work factor of bcrypt; one more doubles the time of a login [default: 10]
    #[arg(long, env = "BCRYPT_COST", hide_env_values = true, value_name = "COST")]
    bcrypt_cost: Option<String>,
}

/// The checked form of [`PasswordArgs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PasswordConfig {
    /// 4 to 16.
    pub(crate) bcrypt_cost: u32,
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self { bcrypt_cost: 10 }
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
        Ok(PasswordConfig { bcrypt_cost })
    }
}
