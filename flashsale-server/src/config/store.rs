use std::path::PathBuf;

use super::{SettingError, given};

/// Where everything is kept.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Database: sqlite://FILE, created if it is missing [default: sqlite://flashsale.db]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
}

/// The checked form of [`StoreArgs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreConfig {
    /// The SQLite file.
    pub(crate) file: PathBuf,
}

impl StoreArgs {
    const URL_DEFAULT: &str = "sqlite://flashsale.db";

    /// Reads the URL; whether the file can be used shows when it is opened.
    pub(crate) fn validate(&self) -> Result<StoreConfig, SettingError> {
        let url = given(self.database_url.as_deref()).unwrap_or(Self::URL_DEFAULT);
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match scheme {
            "sqlite" => sqlite(url, rest),
            // Such a URL may carry a password, so only its scheme is shown.
            "postgres" | "postgresql" => Err(SettingError::value(
                "DATABASE_URL",
                format!("{scheme}:…"),
                "this build serves sqlite only, e.g. sqlite://flashsale.db",
            )),
            _ => {
                let shown = if rest.is_empty() {
                    url.to_owned()
                } else {
                    format!("{scheme}:…")
                };
                let allowed = "must be like sqlite://flashsale.db or sqlite:///srv/shop/sales.db";
                Err(SettingError::value("DATABASE_URL", shown, allowed))
            }
        }
    }
}

fn sqlite(url: &str, rest: &str) -> Result<StoreConfig, SettingError> {
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
    Ok(StoreConfig { file: file.into() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::StoreArgs;

    fn file(url: &str) -> Result<std::path::PathBuf, String> {
        let args = StoreArgs {
            database_url: Some(url.to_owned()),
        };
        let config = args.validate().map_err(|error| error.to_string())?;
        Ok(config.file)
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
    fn a_postgres_url_is_refused_without_its_password() {
        let error = file("postgres://shop:hunter2@db/shop").unwrap_err();
        assert!(error.contains("sqlite only"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(
            !file("postgre://shop:hunter2@db/shop")
                .unwrap_err()
                .contains("hunter2")
        );
    }
}
