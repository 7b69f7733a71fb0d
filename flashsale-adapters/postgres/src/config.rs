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
        if let Some(name) = unknown_parameter(&self.url) {
            return Err(ConfigError::UnknownParameter { name });
        }
        let options = PgConnectOptions::from_str(&self.url).map_err(|error| {
            let problem = match &error {
                sqlx::Error::Configuration(problem) => problem.to_string(),
                other => other.to_string(),
            };
            ConfigError::NotAUrl { problem }
        })?;
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
    let known =
        |name: &str| KNOWN.contains(&name) || name.starts_with("options[") || name.is_empty();
    parameters(url).find(|name| !known(name))
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
