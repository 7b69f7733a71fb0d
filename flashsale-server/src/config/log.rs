use tracing_subscriber::EnvFilter;

use super::{SettingError, given};

/// How much is logged, and in which form.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// `text` or `json` [default: text on a terminal, else json]
    #[arg(
        long,
        env = "LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT"
    )]
    log_format: Option<String>,

    /// What is logged, e.g. `warn` or `info,flashsale_server=debug` [default: info]
    #[arg(long, env = "RUST_LOG", hide_env_values = true, value_name = "FILTER")]
    log_filter: Option<String>,
}

/// The checked form of [`LogArgs`].
#[derive(Debug)]
pub(crate) struct LogConfig {
    /// As asked for; nothing lets the terminal decide.
    pub(crate) format: Option<LogFormat>,
    /// As asked for; nothing is the command's default.
    pub(crate) filter: Option<EnvFilter>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

impl LogArgs {
    /// Checks both settings.
    pub(crate) fn validate(&self) -> Result<LogConfig, SettingError> {
        let format = match given(self.log_format.as_deref()) {
            None => None,
            Some("text") => Some(LogFormat::Text),
            Some("json") => Some(LogFormat::Json),
            Some(other) => {
                let allowed = "must be text or json";
                return Err(SettingError::value("LOG_FORMAT", other, allowed));
            }
        };
        let filter = match given(self.log_filter.as_deref()) {
            None => None,
            Some(text) => Some(EnvFilter::try_new(text).map_err(|_| {
                let allowed = "must be like info or warn,flashsale_server=debug";
                SettingError::value("RUST_LOG", text, allowed)
            })?),
        };
        Ok(LogConfig { format, filter })
    }
}
