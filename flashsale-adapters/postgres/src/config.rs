use std::fmt;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::ConfigError;

/// Where the database is, and how long to wait for it.
///
/// ```
/// use flashsale_postgres::PostgresConfig;
///
/// let config = PostgresConfig {
///     connections_max: 4,
///     ..PostgresConfig::new("postgres://shop:hunter2@127.0.0.1/shop")
/// };
/// assert!(config.validate().is_ok());
/// assert!(!format!("{config:?}").contains("hunter2"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`, with the parameters of libpq behind a `?`.
    /// What it leaves out is taken from the `PG…` variables and the password file, as by `psql`.
    pub url: String,
    /// The most connections of the pool; 1 to 1,000, default 8. One more waits for notifications
    /// once [`changed`](flashsale_core::ports::SaleRepo::changed) is asked.
    pub connections_max: u32,
    /// How long a call waits for a connection of the pool, in milliseconds; 10 to 60,000, default
    /// 2,000.
    pub acquire_timeout_ms: u32,
    /// How long the server works on a call, in milliseconds; 10 to 3,600,000, default 5,000.
    pub statement_timeout_ms: u32,
    /// How long a call waits for a lock that another session holds, in milliseconds; 10 to
    /// 3,600,000, default 2,000.
    pub lock_timeout_ms: u32,
    /// How long bringing the database up to date may take, in milliseconds, waiting for others who
    /// do it included; 1,000 to 86,400,000, default 60,000.
    pub migrate_timeout_ms: u32,
    /// The most refusals of one sale in the audit trail; the oldest go first. 1 to 1,000,000,000,
    /// default 1,000,000.
    pub refusals_max: u32,
}

impl PostgresConfig {
    /// The defaults, for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections_max: 8,
            acquire_timeout_ms: 2_000,
            statement_timeout_ms: 5_000,
            lock_timeout_ms: 2_000,
            migrate_timeout_ms: 60_000,
            refusals_max: 1_000_000,
        }
    }

    /// Checks every setting against its range, and the form of the URL.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.connect_options()?;
        in_range("connections_max", self.connections_max, 1, 1_000)?;
        in_range("acquire_timeout_ms", self.acquire_timeout_ms, 10, 60_000)?;
        let (statement, lock) = (self.statement_timeout_ms, self.lock_timeout_ms);
        in_range("statement_timeout_ms", statement, 10, 3_600_000)?;
        in_range("lock_timeout_ms", lock, 10, 3_600_000)?;
        let migrate = self.migrate_timeout_ms;
        in_range("migrate_timeout_ms", migrate, 1_000, 86_400_000)?;
        in_range("refusals_max", self.refusals_max, 1, 1_000_000_000)
    }

    /// What the URL says.
    pub(crate) fn connect_options(&self) -> Result<PgConnectOptions, ConfigError> {
        let scheme = ["postgres://", "postgresql://"];
        if !scheme.iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(ConfigError::NotAUrl {
                problem: "it begins otherwise".to_owned(),
            });
        }
        if has_unencoded_credentials(&self.url) {
            return Err(ConfigError::UnencodedCredentials);
        }
        if let Some(name) = parameters(&self.url).find(|name| UNSUPPORTED.contains(&&**name)) {
            return Err(ConfigError::UnsupportedParameter { name });
        }
        if let Some(name) = unknown_parameter(&self.url) {
            return Err(ConfigError::UnknownParameter { name });
        }
        let url = without_unneeded_parameters(&self.url);
        let options = PgConnectOptions::from_str(&url).map_err(|error| {
            let problem = match &error {
                sqlx::Error::Configuration(problem) => problem.to_string(),
                other => other.to_string(),
            };
            ConfigError::NotAUrl { problem }
        })?;
        // The driver looks the brackets of an IPv6 address up as a part of a name.
        let host = options.get_host();
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let options = match address.map(str::to_owned) {
            Some(address) => options.host(&address),
            None => options,
        };
        // As libpq has it: whoever names a root wants it to be the one.
        let names_root = parameters(&self.url)
            .any(|name| ["sslrootcert", "ssl-root-cert", "ssl-ca"].contains(&&*name));
        let options = match options.get_ssl_mode() {
            PgSslMode::Require if names_root => options.ssl_mode(PgSslMode::VerifyCa),
            _ => options,
        };
        Ok(match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("flashsale"),
        })
    }
}

/// The first parameter of the URL that the driver would ignore: a misspelled `sslmode` must not
/// lead to a connection that anybody can read.
fn unknown_parameter(url: &str) -> Option<String> {
    const KNOWN: [&str; 18] = [
        "application_name",
        "dbname",
        "host",
        "hostaddr",
        "options",
        "password",
        "port",
        "ssl-ca",
        "ssl-cert",
        "ssl-key",
        "ssl-mode",
        "ssl-root-cert",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "statement-cache-capacity",
        "user",
    ];
    let known = |name: &str| {
        KNOWN.contains(&name)
            || UNNEEDED.contains(&name)
            || name.starts_with("options[")
            || name.is_empty()
    };
    parameters(url).find(|name| !known(name))
}

/// Parameters of libpq (PostgreSQL 18, section 34.1.2) that the adapter can do without: it limits its
/// waits and refuses a server that cannot be written to by itself, uses no GSSAPI, and encryption is
/// what `sslmode` says.
const UNNEEDED: [&str; 22] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslkeylogfile",
    "sslnegotiation",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters of libpq that ask for something that the driver does not do.
const UNSUPPORTED: [&str; 17] = [
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
];

/// Those parameters of the URL that it can do without.
pub(crate) fn unneeded_parameters(url: &str) -> Vec<String> {
    parameters(url)
        .filter(|name| UNNEEDED.contains(&&**name))
        .collect()
}

/// The driver would log what it does not know, with its value.
fn without_unneeded_parameters(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let needed = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !UNNEEDED.contains(&name)
    });
    let needed: Vec<_> = needed.collect();
    format!("{place}?{}", needed.join("&"))
}

/// Whether something that ends the part with user and password stands before its `@`.
fn has_unencoded_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let behind = behind.split("options").next().unwrap_or_default();
    !authority.contains('@') && behind.contains('@')
}

/// The names of the parameters of a URL.
fn parameters(url: &str) -> impl Iterator<Item = String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let names = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => name,
        None => pair,
    });
    names.map(|name| name.replace("%5B", "[").replace("%5b", "["))
}

fn in_range(name: &'static str, value: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange {
        name,
        value,
        min,
        max,
    })
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("connections_max", &self.connections_max)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .field("statement_timeout_ms", &self.statement_timeout_ms)
            .field("lock_timeout_ms", &self.lock_timeout_ms)
            .field("migrate_timeout_ms", &self.migrate_timeout_ms)
            .field("refusals_max", &self.refusals_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn url(url: &str) -> Result<(), ConfigError> {
        PostgresConfig::new(url).validate()
    }

    #[test]
    fn urls_of_postgres_are_taken() {
        for good in [
            "postgres://db/shop",
            "postgresql://shop:pass%20word@db:5433/shop?sslmode=prefer&application_name=till",
            "postgres://shop@db/shop?options=-c%20search_path%3Dshop",
            "postgres://shop@db/shop?options[search_path]=shop",
            "postgres://%2Frun%2Fpostgresql/shop",
            "postgres://db",
            "postgres://shop@[::1]:5432/shop",
            "postgres://shop:p@ss,word@db/shop",
            "postgres://shop:a%23%2F%3F%40b@db/shop",
            "postgres://shop@db/shop?sslmode=disable&channel_binding=require&connect_timeout=10",
            "postgres://db/shop?user=shop&password=%40&target_session_attrs=read-write",
        ] {
            assert_eq!(url(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn other_urls_are_refused_without_their_secrets() {
        for bad in [
            "",
            "db/shop",
            "mysql://shop:hunter2@db/shop",
            "postgres://shop:hunter2@:x/shop",
            "postgres://shop:hunter2@db:99999/shop",
            "postgres://shop:hunter2@db/shop?port=many",
            "postgres://shop:hunter2@db/shop?sslmode=perhaps",
            "postgres://shop:hunter2@db/shop?hostaddr=db",
        ] {
            let error = url(bad).unwrap_err().to_string();
            assert!(error.contains("postgres://"), "{bad}: {error}");
            assert!(!error.contains("hunter2"), "{bad}: {error}");
            assert!(!error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn a_password_that_would_have_to_be_encoded_is_not_shown() {
        for bad in [
            "postgres://shop:hun#ter2@db/shop",
            "postgres://shop:hun/ter2@db/shop",
            "postgres://shop:12/ter2@db:5432/shop",
            "postgres://shop:hun?ter2@db/shop?sslmode=disable",
        ] {
            let error = url(bad).unwrap_err();
            assert_eq!(error, ConfigError::UnencodedCredentials, "{bad}");
            let line = error.to_string();
            assert!(line.contains("%23") && !line.contains("hun"), "{line}");
        }
    }

    #[test]
    fn an_ipv6_address_is_one() {
        let config = PostgresConfig::new("postgres://shop@[::1]:5433/shop");
        let options = config.connect_options().unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("::1", 5433));
    }

    #[test]
    fn parameters_of_libpq_that_are_not_needed_are_left_out() {
        for name in UNNEEDED {
            let text = format!("postgres://shop@db/shop?{name}=1&port=5433&{name}=2");
            let options = PostgresConfig::new(&text).connect_options().unwrap();
            assert_eq!(options.get_port(), 5433);
            assert_eq!(unneeded_parameters(&text), [name, name]);
        }
    }

    #[test]
    fn parameters_of_libpq_that_are_not_supported_are_named() {
        for name in UNSUPPORTED {
            let error = url(&format!("postgres://shop@db/shop?{name}=hunter2")).unwrap_err();
            let line = error.to_string();
            assert!(line.contains(name) && !line.contains("hunter2"), "{line}");
            assert!(!line.contains("unknown"), "{line}");
        }
    }

    #[test]
    fn a_misspelled_parameter_is_named() {
        let error = url("postgres://shop@db/shop?sslmod=require").unwrap_err();
        assert!(error.to_string().contains("sslmod"), "{error}");
    }

    #[test]
    fn each_limit_holds_at_the_limit_and_one_past_it() {
        type Set = fn(&mut PostgresConfig, u32);
        let limits: [(Set, u32, u32); 6] = [
            (|c, v| c.connections_max = v, 1, 1_000),
            (|c, v| c.acquire_timeout_ms = v, 10, 60_000),
            (|c, v| c.statement_timeout_ms = v, 10, 3_600_000),
            (|c, v| c.lock_timeout_ms = v, 10, 3_600_000),
            (|c, v| c.migrate_timeout_ms = v, 1_000, 86_400_000),
            (|c, v| c.refusals_max = v, 1, 1_000_000_000),
        ];
        for (number, (set, min, max)) in limits.into_iter().enumerate() {
            for (value, fits) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
                let mut config = PostgresConfig::new("postgres://db/shop");
                set(&mut config, value);
                assert_eq!(config.validate().is_ok(), fits, "limit {number}, {value}");
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let config = PostgresConfig::new("postgres://shop:hunter2@db/shop?password=hunter3");
        assert!(!format!("{config:?}").contains("hunter"));
    }
}
