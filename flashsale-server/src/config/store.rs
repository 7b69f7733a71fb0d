use std::path::PathBuf;

#[cfg(feature = "distributed")]
use super::Secret;
use super::{SettingError, given};

/// Where everything is kept.
#[derive(Clone, clap::Args)]
pub(crate) struct StoreArgs {
    /// Database: sqlite://FILE (the embedded engine; created if it is missing), or
    /// postgres://USER:PASSWORD@HOST/NAME (the distributed one) [default: sqlite://flashsale.db]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Redis, for a postgres: database: redis://HOST:PORT, or several separated by commas for
    /// Redis Cluster
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: Option<String>,
}

impl std::fmt::Debug for StoreArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreArgs").finish_non_exhaustive()
    }
}

/// The checked form of [`StoreArgs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreConfig {
    /// The embedded engine.
    File(FileConfig),
    /// The distributed engine.
    #[cfg(feature = "distributed")]
    Servers(ServersConfig),
}

/// A database in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileConfig {
    /// The SQLite file.
    pub(crate) file: PathBuf,
}

/// A database and a hot store on servers. Whether the URLs can be used is checked by the adapters.
#[cfg(feature = "distributed")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServersConfig {
    /// A `postgres:` URL.
    pub(crate) database_url: Secret,
    /// One or more Redis URLs; nothing if it was not given.
    pub(crate) redis_url: Option<Secret>,
}

#[cfg(feature = "distributed")]
impl ServersConfig {
    /// The URL of Redis, for commands that use it.
    pub(crate) fn redis_url(&self) -> Result<&Secret, SettingError> {
        self.redis_url.as_ref().ok_or(SettingError::Secret {
            setting: "REDIS_URL",
            problem: "is not set: a postgres: database needs it, e.g. redis://127.0.0.1:6379"
                .to_owned(),
        })
    }
}

impl StoreArgs {
    const URL_DEFAULT: &str = "sqlite://flashsale.db";

    /// Reads the URL; whether the database can be used shows when it is opened.
    pub(crate) fn validate(&self) -> Result<StoreConfig, SettingError> {
        let url = given(self.database_url.as_deref()).unwrap_or(Self::URL_DEFAULT);
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match scheme {
            "sqlite" => sqlite(url, rest).map(StoreConfig::File),
            #[cfg(feature = "distributed")]
            "postgres" | "postgresql" => Ok(StoreConfig::Servers(ServersConfig {
                database_url: Secret::new(url),
                redis_url: given(self.redis_url.as_deref()).map(Secret::new),
            })),
            // Such a URL may carry a password, so only its scheme is shown.
            #[cfg(not(feature = "distributed"))]
            "postgres" | "postgresql" => Err(SettingError::value(
                "DATABASE_URL",
                format!("{scheme}:…"),
                "this build serves sqlite only, e.g. sqlite://flashsale.db; build it with the \
                 feature `distributed`",
            )),
            _ => {
                let shown = if rest.is_empty() {
                    url.to_owned()
                } else {
                    format!("{scheme}:…")
                };
                let allowed = "must be like sqlite://flashsale.db, sqlite:///srv/shop/sales.db or \
                    postgres://user:password@host/database";
                Err(SettingError::value("DATABASE_URL", shown, allowed))
            }
        }
    }
}

fn sqlite(url: &str, rest: &str) -> Result<FileConfig, SettingError> {
    let refuse = |allowed: &str| Err(SettingError::value("DATABASE_URL", url, allowed));
    let file = rest.strip_prefix("//").unwrap_or(rest);
    if file == ":memory:" {
        return refuse("must name a file: what is only in memory is lost with the process");
    }
    if file.is_empty() || file.ends_with('/') {
        return refuse("must name a file, e.g. sqlite://flashsale.db");
    }
    if file.contains(['?', '#', '\0']) {
        return refuse("must be a file name without options, e.g. sqlite://flashsale.db");
    }
    Ok(FileConfig { file: file.into() })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{StoreArgs, StoreConfig};

    fn config(url: &str, redis_url: Option<&str>) -> Result<StoreConfig, String> {
        let args = StoreArgs {
            database_url: Some(url.to_owned()),
            redis_url: redis_url.map(str::to_owned),
        };
        args.validate().map_err(|error| error.to_string())
    }

    fn file(url: &str) -> Result<PathBuf, String> {
        match config(url, None)? {
            StoreConfig::File(config) => Ok(config.file),
            #[cfg(feature = "distributed")]
            StoreConfig::Servers(_) => Err("it is on servers".to_owned()),
        }
    }

    #[test]
    fn relative_and_absolute_files() {
        assert_eq!(file("").unwrap(), Path::new("flashsale.db"));
        assert_eq!(file("sqlite:shop.db").unwrap(), Path::new("shop.db"));
        assert_eq!(file("sqlite://shop.db").unwrap(), Path::new("shop.db"));
        assert_eq!(
            file("sqlite:///srv/shop.db").unwrap(),
            Path::new("/srv/shop.db")
        );
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        for url in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:",
            "sqlite://",
            "sqlite://a/",
            "sqlite://a.db?mode=rwc",
            "flashsale.db",
            "mysql://x",
        ] {
            let error = file(url).unwrap_err();
            assert!(error.starts_with("DATABASE_URL is"), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn a_misspelt_url_is_refused_without_its_password() {
        let error = file("postgre://shop:hunter2@db/shop").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[cfg(feature = "distributed")]
    #[test]
    fn servers_show_no_password() {
        let config = config("postgres://shop:hunter2@db/shop", Some("redis://:sesame@a"));
        let StoreConfig::Servers(config) = config.unwrap() else {
            panic!("it is on servers");
        };
        config.redis_url().unwrap();
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[cfg(feature = "distributed")]
    #[test]
    fn a_missing_redis_is_named_when_it_is_needed() {
        let StoreConfig::Servers(config) = config("postgres://db/shop", Some(" ")).unwrap() else {
            panic!("it is on servers");
        };
        let error = config.redis_url().unwrap_err().to_string();
        assert!(error.starts_with("REDIS_URL is not set"), "{error}");
    }

    #[cfg(not(feature = "distributed"))]
    #[test]
    fn a_postgres_url_is_refused_without_its_password() {
        let error = file("postgres://shop:hunter2@db/shop").unwrap_err();
        assert!(error.contains("sqlite only"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
