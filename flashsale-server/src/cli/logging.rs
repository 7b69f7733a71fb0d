use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging to standard error; `default_filter` holds where the settings name none.
pub(super) fn start(config: LogConfig, default_filter: &str) {
    let terminal = io::stderr().is_terminal();
    let format = config.format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let filter = config
        .filter
        .unwrap_or_else(|| EnvFilter::new(default_filter));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => subscriber.with_ansi(terminal).with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
