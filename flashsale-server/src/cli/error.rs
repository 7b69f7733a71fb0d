use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::SettingError;

/// Why a command has not done what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CliError {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// It was not done; the text says why and what to do.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// It was not done, because of this.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// Says so in one line, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let text = self.to_string().replace('\n', " ");
        // If nobody listens, the exit code still tells.
        let _ = writeln!(io::stderr(), "error: {text}");
        ExitCode::from(match self {
            Self::Setting(_) => 2,
            Self::Failed(_) => 1,
        })
    }
}
