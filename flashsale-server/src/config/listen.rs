use std::time::Duration;

use poem::http::HeaderName;

use super::{SettingError, duration_ms, given};
use crate::{HttpConfig, Network};

/// Where the API listens and who may call it from a browser.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// Port to listen on [default: 3001]; 0 lets the system choose one
    #[arg(long, env = "PORT", hide_env_values = true, value_name = "PORT")]
    port: Option<String>,

    /// Address to listen on [default: 127.0.0.1]; 0.0.0.0 for all
    #[arg(long, env = "HOST", hide_env_values = true, value_name = "HOST")]
    host: Option<String>,

    /// Web origins whose pages may call the API, separated by commas [default: none]
    #[arg(
        long,
        env = "CORS_ORIGINS",
        hide_env_values = true,
        value_name = "ORIGINS"
    )]
    cors_origins: Option<String>,

    /// Further request headers that those pages may send, separated by commas [default: none]
    #[arg(
        long,
        env = "CORS_HEADERS",
        hide_env_values = true,
        value_name = "HEADERS"
    )]
    cors_headers: Option<String>,
    /// Proxies whose X-Forwarded-For counts: addresses or networks, separated by commas
    /// [default: none]
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        hide_env_values = true,
        value_name = "NETWORKS"
    )]
    trusted_proxies: Option<String>,

    /// How long to say no at /ready after a signal before the port is closed [default: 0]
    #[arg(
        long,
        env = "SHUTDOWN_DELAY",
        hide_env_values = true,
        value_name = "TIME"
    )]
    shutdown_delay: Option<String>,
}

/// The checked form of [`ListenArgs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenConfig {
    /// A name or an IP address.
    pub(crate) host: String,
    /// 0 for any free port.
    pub(crate) port: u16,
    /// `scheme://host[:port]` each.
    pub(crate) cors_origins: Vec<String>,
    /// Names of headers.
    pub(crate) cors_headers: Vec<String>,
    pub(crate) trusted_proxies: Vec<Network>,
    /// At most an hour.
    pub(crate) shutdown_delay: Duration,
}

impl ListenConfig {
    /// How requests are taken, with this many logins at a time.
    pub(crate) fn http(self, login_concurrency: usize) -> HttpConfig {
        HttpConfig {
            cors_origins: self.cors_origins,
            cors_headers: self.cors_headers,
            trusted_proxies: self.trusted_proxies,
            login_concurrency,
            ..HttpConfig::default()
        }
    }
}

impl ListenArgs {
    const PORT_DEFAULT: u16 = 3001;
    const SHUTDOWN_DELAY_MAX: Duration = Duration::from_secs(3_600);
    const HOST_DEFAULT: &str = "127.0.0.1";

    /// Checks each setting by itself; whether the address can be had shows when it is bound.
    pub(crate) fn validate(&self) -> Result<ListenConfig, SettingError> {
        let port = match given(self.port.as_deref()) {
            None => Self::PORT_DEFAULT,
            Some(text) => text.parse().map_err(|_| {
                SettingError::value("PORT", text, "must be a port number from 0 to 65535")
            })?,
        };
        let host = given(self.host.as_deref()).unwrap_or(Self::HOST_DEFAULT);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let named = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if host.is_empty() || !host.chars().all(named) {
            let allowed = "must be an IP address or a host name, without scheme or port";
            return Err(SettingError::value("HOST", host, allowed));
        }
        let network = |text: &str| {
            text.parse().map_err(|_| {
                let allowed = "each proxy must be an IP address or a network like 10.0.0.0/8";
                SettingError::value("TRUSTED_PROXIES", text, allowed)
            })
        };
        let shutdown_delay = match given(self.shutdown_delay.as_deref()) {
            None => Duration::ZERO,
            Some(text) => duration_ms(text)
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis)
                .filter(|delay| *delay <= Self::SHUTDOWN_DELAY_MAX)
                .ok_or_else(|| {
                    let allowed = "must be a time like 15s, at most 1h";
                    SettingError::value("SHUTDOWN_DELAY", text, allowed)
                })?,
        };
        Ok(ListenConfig {
            host: host.to_owned(),
            port,
            cors_origins: list(self.cors_origins.as_deref(), origin)?,
            cors_headers: list(self.cors_headers.as_deref(), header)?,
            trusted_proxies: list(self.trusted_proxies.as_deref(), network)?,
            shutdown_delay,
        })
    }
}

/// What stands between the commas, without blanks around it, each checked.
fn list<T>(
    text: Option<&str>,
    check: impl Fn(&str) -> Result<T, SettingError>,
) -> Result<Vec<T>, SettingError> {
    let items = given(text).unwrap_or_default().split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).map(check).collect()
}

/// Browsers ask for headers in lower case, and take a `*` for more than a name.
fn header(text: &str) -> Result<String, SettingError> {
    if text != "*" && HeaderName::from_bytes(text.as_bytes()).is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(SettingError::value(
        "CORS_HEADERS",
        text,
        "each must be the name of a header like x-shop-version; * is none",
    ))
}

/// A browser sends origins without path, in lower case; anything else would never match.
fn origin(text: &str) -> Result<String, SettingError> {
    let authority = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    match authority {
        Some(authority) if !authority.is_empty() && authority.chars().all(allowed) => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err(SettingError::value(
            "CORS_ORIGINS",
            text,
            "each origin must be like https://shop.example or http://localhost:5173, \
             in lower case, without path",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenArgs, ListenConfig};

    fn validate(port: &str, host: &str, origins: &str) -> Result<ListenConfig, String> {
        let args = ListenArgs {
            port: Some(port.to_owned()),
            host: Some(host.to_owned()),
            cors_origins: Some(origins.to_owned()),
            cors_headers: None,
            trusted_proxies: None,
            shutdown_delay: None,
        };
        args.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn empty_settings_count_as_not_given() {
        let config = validate("", "", "").unwrap();
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 3001));
        assert!(config.cors_origins.is_empty());
    }

    #[test]
    fn origins_are_a_list() {
        let config = validate("0", "::1", "https://a.example, http://localhost:5173,").unwrap();
        assert_eq!(
            config.cors_origins,
            ["https://a.example", "http://localhost:5173"]
        );
    }

    #[test]
    fn headers_are_a_list_in_lower_case() {
        let validate = |headers: &str| {
            let args = ListenArgs {
                port: None,
                host: None,
                cors_origins: None,
                cors_headers: Some(headers.to_owned()),
                trusted_proxies: None,
                shutdown_delay: None,
            };
            args.validate().map(|config| config.cors_headers)
        };
        assert_eq!(validate("X-Shop, a,").unwrap(), ["x-shop", "a"]);
        for wrong in ["*", "two words", "x:y", "a,ä"] {
            let error = validate(wrong).unwrap_err().to_string();
            assert!(error.starts_with("CORS_HEADERS is"), "{error}");
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_is_allowed() {
        let error = validate("70000", "", "").unwrap_err();
        assert_eq!(
            error,
            "PORT is \"70000\": must be a port number from 0 to 65535"
        );
        assert!(
            validate("", "http://x", "")
                .unwrap_err()
                .starts_with("HOST is")
        );
        for origin in [
            "*",
            "shop.example",
            "https://a.example/",
            "https://A.example",
            "https://",
        ] {
            let error = validate("", "", origin).unwrap_err();
            assert!(error.starts_with("CORS_ORIGINS is"), "{error}");
        }
    }
}
