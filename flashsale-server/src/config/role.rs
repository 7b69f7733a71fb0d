use crate::Role;

use super::{SettingError, StoreConfig, given};

/// Which parts of the engine run in this process.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RoleArgs {
    /// `all`, `api` or `worker`; the embedded engine (sqlite:) is one process and runs all
    /// [default: all]
    #[arg(long, env = "ROLE", hide_env_values = true, value_name = "ROLE")]
    role: Option<String>,
}

impl RoleArgs {
    /// Accepts what the engine of the store can do.
    pub(crate) fn validate(&self, store: &StoreConfig) -> Result<Role, SettingError> {
        #[cfg_attr(not(feature = "distributed"), expect(unused_variables))]
        let (text, role) = match given(self.role.as_deref()) {
            None | Some("all") => return Ok(Role::All),
            Some(text @ "api") => (text, Role::Api),
            Some(text @ "worker") => (text, Role::Worker),
            Some(text) => {
                let allowed = "must be all, api or worker";
                return Err(SettingError::value("ROLE", text, allowed));
            }
        };
        match store {
            StoreConfig::File(_) => Err(SettingError::value(
                "ROLE",
                text,
                "contradicts DATABASE_URL: an sqlite: database is served by one process, \
                 API and worker together (all)",
            )),
            #[cfg(feature = "distributed")]
            StoreConfig::Servers(_) => Ok(role),
        }
    }
}
