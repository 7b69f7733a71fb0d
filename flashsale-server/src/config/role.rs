use super::{SettingError, given};

/// Which parts of the engine run in this process.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RoleArgs {
    /// `all`, `api` or `worker`; the embedded engine (sqlite:) is one process and runs all
    /// [default: all]
    #[arg(long, env = "ROLE", hide_env_values = true, value_name = "ROLE")]
    role: Option<String>,
}

impl RoleArgs {
    /// Accepts what the embedded engine can do.
    pub(crate) fn validate(&self) -> Result<(), SettingError> {
        let refuse = |role, allowed| Err(SettingError::value("ROLE", role, allowed));
        match given(self.role.as_deref()) {
            None | Some("all") => Ok(()),
            Some(role @ ("api" | "worker")) => refuse(
                role,
                "contradicts DATABASE_URL: an sqlite: database is served by one process, \
                 API and worker together (all)",
            ),
            Some(role) => refuse(role, "must be all, api or worker"),
        }
    }
}
