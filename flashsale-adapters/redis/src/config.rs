use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use flashsale_core::ports::Clock;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// How a [`RedisStockStore`](crate::RedisStockStore) finds its Redis, and what it waits for.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/db]`, or, for a Redis Cluster, the addresses of
    /// several of its nodes, separated by commas; the others are found by themselves.
    ///
    /// `rediss://` is encrypted (feature `tls`). It takes `?sslrootcert=FILE`, the certificates to
    /// trust instead of those of the system, and `sslcert=FILE&sslkey=FILE`, to show one of our own;
    /// what the first node of a cluster has holds for all.
    pub url: String,
    /// What all keys begin with. Default `flashsale`; 1 to 64 of `A-Z a-z 0-9 . _ : -`.
    pub prefix: String,
    /// The most milliseconds that a call on a buyer's path takes (`reserve`, `acknowledge`,
    /// `allocations`, `results`), at most two retries included. Default 400, at least 10.
    pub budget_ms: u32,
    /// After this many milliseconds without an answer the connection is given up and the call is
    /// made again on a new one. Default 200, at least 5.
    pub response_ms: u32,
    /// The most milliseconds that connecting takes. Default 400, at least 5.
    pub connect_ms: u32,
    /// The most milliseconds that any other call takes; opening a sale with buyers may take this
    /// long for every 512 of them. Default 2,000, at least 10.
    pub work_budget_ms: u32,
    /// The most requests that wait to be sent, and as many acknowledgements and reads; one more is
    /// refused as [`Busy`](flashsale_core::ErrorKind::Busy). Default 16,384, at least 1,024.
    pub waiting_max: usize,
    /// For how many milliseconds at most a sold-out sale is answered from memory, until Redis is
    /// asked again. Units that another process returns are seen after this time at the latest.
    /// Default 100; 0 asks Redis every time.
    pub sold_out_ms: u32,
    /// For how many seconds results are kept for their buyers. Default 30 days, at least 1.
    pub result_ttl_s: u32,
    /// The clock that windows are judged by. Default: that of the Redis server, which is the same
    /// for all processes. For tests and simulators.
    pub clock: Option<Arc<dyn Clock>>,
}

/// Why a [`RedisConfig`] cannot be used. The text is one line and never shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedisConfig {
    /// Not an address of a Redis.
    #[error("{shown:?} is not redis://[user:password@]host[:port][/db] or rediss:// with the same")]
    Url {
        /// The address as far as it may be shown.
        shown: String,
    },
    /// User or password have characters that end them too early.
    #[error(
        "the user or the password has a character that stands for something else in a URL: write \
        %23 for #, %2F for /, %3F for ?"
    )]
    UnencodedCredentials,
    /// An encrypted connection, which this build does not make.
    #[error("rediss:// needs a build with the feature `tls`")]
    NoTls,
    /// Certificates, or the parameters that name them, that cannot be used.
    #[error("no encrypted connection can be made: {problem}")]
    Certificates {
        /// What is wrong with them.
        problem: String,
    },
    /// A Redis Cluster has the database 0 only.
    #[error("a Redis Cluster has no other database than 0: remove /{db}")]
    ClusterDatabase {
        /// The database asked for.
        db: i64,
    },
    /// The nodes of a cluster have one user and password, and all encrypt or none.
    #[error("all addresses of a Redis Cluster must have the same scheme, user and password")]
    ClusterCredentials,
    /// A prefix that would break the keys.
    #[error("the prefix must be 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Prefix,
    /// A number outside its limits.
    #[error("{name} must be at least {min}")]
    TooSmall {
        /// The field.
        name: &'static str,
        /// The least value.
        min: u64,
    },
}

impl RedisConfig {
    /// The defaults, for the Redis at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "flashsale".to_owned(),
            budget_ms: 400,
            response_ms: 200,
            connect_ms: 400,
            work_budget_ms: 2_000,
            waiting_max: 16_384,
            sold_out_ms: 100,
            result_ttl_s: 30 * 24 * 60 * 60,
            clock: None,
        }
    }

    /// Checks everything that can be checked without the server.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidRedisConfig> {
        self.addresses()?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(plain) {
            return Err(InvalidRedisConfig::Prefix);
        }
        let least = [
            ("budget_ms", u64::from(self.budget_ms), 10),
            ("response_ms", u64::from(self.response_ms), 5),
            ("connect_ms", u64::from(self.connect_ms), 5),
            ("work_budget_ms", u64::from(self.work_budget_ms), 10),
            ("waiting_max", self.waiting_max as u64, 1_024),
            ("result_ttl_s", u64::from(self.result_ttl_s), 1),
        ];
        match least.into_iter().find(|(_, value, min)| value < min) {
            Some((name, _, min)) => Err(InvalidRedisConfig::TooSmall { name, min }),
            None => Ok(()),
        }
    }

    /// Whether the addresses are those of a Redis Cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.urls().len() > 1
    }

    /// The parts of the list. A comma may also be a part of a password.
    fn urls(&self) -> Vec<&str> {
        let mut urls = Vec::new();
        let (mut from, mut rest) = (0, 0);
        while let Some(comma) = self.url[rest..].find(',').map(|comma| rest + comma) {
            rest = comma + 1;
            let next = self.url[rest..].trim_start();
            if next.is_empty() || SCHEMES.iter().any(|scheme| next.starts_with(scheme)) {
                urls.push(self.url[from..comma].trim());
                from = rest;
            }
        }
        urls.push(self.url[from..].trim());
        urls
    }

    /// Where to connect to; several for a cluster.
    pub(crate) fn addresses(&self) -> Result<Vec<ConnectionInfo>, InvalidRedisConfig> {
        let urls = self.urls().into_iter();
        let urls = urls.filter(|url| !self.is_cluster() || !url.is_empty());
        let mut parameters = None;
        let with_parameters = |url: &str| match (url.split_once('?'), &parameters) {
            (None, Some(parameters)) => format!("{url}?{parameters}"),
            (named, _) => {
                parameters = parameters
                    .take()
                    .or(named.map(|(_, named)| named.to_owned()));
                url.to_owned()
            }
        };
        let urls = urls.map(with_parameters);
        let addresses: Vec<_> = urls.map(|url| address(&url)).collect::<Result<_, _>>()?;
        let Some(first) = addresses.first() else {
            return Err(not_an_address(&self.url));
        };
        if self.is_cluster() {
            let of = |info: &ConnectionInfo| {
                let settings = info.redis_settings();
                let text = |text: Option<&str>| text.map(str::to_owned);
                let encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
                (
                    encrypted,
                    text(settings.username()),
                    text(settings.password()),
                )
            };
            for other in &addresses {
                match other.redis_settings().db() {
                    0 => {}
                    db => return Err(InvalidRedisConfig::ClusterDatabase { db }),
                }
                if of(other) != of(first) {
                    return Err(InvalidRedisConfig::ClusterCredentials);
                }
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            prefix,
            budget_ms,
            response_ms,
            connect_ms,
            work_budget_ms,
            waiting_max,
            sold_out_ms,
            result_ttl_s,
            clock,
        } = self;
        let url: Vec<_> = self.urls().into_iter().map(without_credentials).collect();
        f.debug_struct("RedisConfig")
            .field("url", &url.join(","))
            .field("prefix", prefix)
            .field("budget_ms", budget_ms)
            .field("response_ms", response_ms)
            .field("connect_ms", connect_ms)
            .field("work_budget_ms", work_budget_ms)
            .field("waiting_max", waiting_max)
            .field("sold_out_ms", sold_out_ms)
            .field("result_ttl_s", result_ttl_s)
            .field("clock", clock)
            .finish()
    }
}

/// One address, with the settings that every connection has.
fn address(url: &str) -> Result<ConnectionInfo, InvalidRedisConfig> {
    let starts_with_one_of = |known: [&str; 2]| known.iter().any(|one| url.starts_with(one));
    let encrypted = starts_with_one_of(["rediss://", "valkeys://"]);
    if encrypted && !cfg!(feature = "tls") {
        return Err(InvalidRedisConfig::NoTls);
    }
    if !encrypted && !starts_with_one_of(["redis://", "valkey://"]) {
        return Err(not_an_address(url));
    }
    let info = url
        .into_connection_info()
        .map_err(|_| not_an_address(url))?;
    #[cfg(feature = "tls")]
    let info = crate::tls::with_certificates(url, info)?;
    Ok(with_settings(info))
}

/// The same address, with the settings that every connection has.
fn with_settings(info: ConnectionInfo) -> ConnectionInfo {
    // Under RESP3 a lost connection is noticed while it is idle.
    let settings = info.redis_settings().clone();
    let settings = settings.set_protocol(ProtocolVersion::RESP3);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(1));
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let tcp = tcp.set_user_timeout(Duration::from_secs(5));
    info.set_redis_settings(settings).set_tcp_settings(tcp)
}

/// Another node, with the settings, credentials and certificates of this one.
pub(crate) fn at(info: &ConnectionInfo, new_host: &str, new_port: u16) -> ConnectionInfo {
    let mut addr = info.addr().clone();
    if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = &mut addr {
        (*host, *port) = (new_host.to_owned(), new_port);
    }
    info.clone().set_addr(addr)
}

/// The host and the port of an address.
pub(crate) fn place(info: &ConnectionInfo) -> (&str, u16) {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host, *port)
        }
        _ => ("", 0),
    }
}

/// What an address begins with.
const SCHEMES: [&str; 4] = ["redis://", "rediss://", "valkey://", "valkeys://"];

fn not_an_address(url: &str) -> InvalidRedisConfig {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if !rest[..end].contains('@') && rest[end..].contains('@') {
        return InvalidRedisConfig::UnencodedCredentials;
    }
    InvalidRedisConfig::Url {
        shown: without_credentials(url),
    }
}

/// An address without user and password. Whatever could be one is left out.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}***{}", &url[..scheme + 3], &url[at..])
        }
        (None, Some(at)) => format!("***{}", &url[at..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(url: &str) -> String {
        RedisConfig::new(url).validate().unwrap_err().to_string()
    }

    #[test]
    fn addresses_of_one_redis_and_of_a_cluster_are_taken() {
        for url in [
            "redis://127.0.0.1:6379",
            "redis://localhost",
            "redis://user:p%40ss@redis.internal:6380/3",
            "redis://user:a%23%2F%2Cb@[::1]:6380/3",
            "redis://user:se,c@ret@h1:1",
            "redis://user:se,cret@h1:1, redis://user:se,cret@h2:2",
            "redis://:secret@h1:1,redis://:secret@h2:2",
            "redis://h1:1,",
        ] {
            RedisConfig::new(url).validate().unwrap();
        }
    }

    #[test]
    fn a_comma_in_a_password_makes_no_cluster() {
        assert!(!RedisConfig::new("redis://user:se,cret@h1:1").is_cluster());
        assert!(RedisConfig::new("redis://:se,cret@h1:1,redis://:se,cret@h2:2").is_cluster());
        let shown = format!("{:?}", RedisConfig::new("redis://user:hun,ter@h1:1"));
        assert!(!shown.contains("hun") && !shown.contains("ter"), "{shown}");
    }

    #[test]
    fn a_password_that_would_have_to_be_encoded_is_not_shown() {
        for url in [
            "redis://:hun#ter@h:1",
            "redis://u:hun/ter@h:1/0",
            "redis://:hun?ter@h",
        ] {
            let line = refused(url);
            assert!(line.contains("%23") && !line.contains("hun"), "{line}");
        }
    }

    #[test]
    fn other_addresses_are_refused_in_one_line_without_the_password() {
        for url in [
            "",
            "localhost:6379",
            "postgres://user:secret@h/db",
            "redis://",
            "redis://user:secret@host:port",
            "user:secret@host",
            "rediss://user:secret@host#insecure",
            "rediss://user:secret@host?sslrotcert=/etc/ca.pem",
            "rediss://user:secret@host?sslrootcert=/nowhere/ca.pem",
            "redis://:secret@h1/1,redis://:secret@h2",
            "redis://:secret@h1,redis://:other@h2",
        ] {
            let line = refused(url);
            assert!(!line.contains('\n') && !line.contains("secret"), "{line}");
        }
        let line = refused("postgres://user:secret@h/db");
        assert!(
            line.starts_with("\"postgres://***@h/db\" is not redis://"),
            "{line}"
        );
    }

    #[test]
    fn limits_are_checked_at_the_limit_and_one_past_it() {
        let config = RedisConfig::new("redis://h");
        let set = |change: fn(&mut RedisConfig)| {
            let mut config = config.clone();
            change(&mut config);
            config.validate()
        };
        assert_eq!(set(|c| c.waiting_max = 1_024), Ok(()));
        assert!(set(|c| c.waiting_max = 1_023).is_err());
        assert_eq!(set(|c| c.budget_ms = 10), Ok(()));
        assert!(set(|c| c.budget_ms = 9).is_err());
        assert_eq!(set(|c| c.prefix = "a".repeat(64)), Ok(()));
        assert!(set(|c| c.prefix = "a".repeat(65)).is_err());
        assert!(set(|c| c.prefix = String::new()).is_err());
        assert!(set(|c| c.prefix = "a{b}".to_owned()).is_err());
    }

    #[test]
    fn a_config_does_not_print_its_password() {
        let config = RedisConfig::new("redis://user:se@cret@h1,redis://user:se@cret@h2");
        let shown = format!("{config:?}");
        assert!(!shown.contains("cret@") && shown.contains("@h1"), "{shown}");
    }
}
