use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use poem::http::{HeaderName, HeaderValue};

/// No process gets more sockets than that.
const CONNECTIONS_MAX: usize = 1_000_000;

/// What the password hasher takes.
pub(crate) const LOGIN_CONCURRENCY_MAX: usize = 64;

/// How requests are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The browser origins that may call, e.g. `https://shop.example`; none by default, and then no
    /// CORS header is ever sent.
    pub cors_origins: Vec<String>,
    /// Request headers that a page of those origins may send, beside those of the API, of common
    /// clients and of tracing; none by default.
    pub cors_headers: Vec<String>,
    /// The longest request body in bytes; 16 KiB by default.
    pub body_max: usize,
    /// The longest wait for a whole request body; 10 s by default.
    pub body_timeout: Duration,
    /// The longest wait for one dependency when `GET /ready` asks; 2 s by default.
    pub ready_timeout: Duration,
    /// The most connections at a time; 10,000 by default. More wait in the system's queue.
    pub connections_max: usize,
    /// The most requests at a time on one HTTP/2 connection; 100 by default, 1 to 10,000.
    pub streams_max: u32,
    /// From the first byte of a request (or from connecting) to the first byte of its answer; 30 s
    /// by default. Slower connections are cut, up to a quarter of the time late.
    pub request_timeout: Duration,
    /// The longest silence between two requests, and while an answer is not taken; 75 s by default.
    /// Longer ones end the connection, up to a quarter of the time late.
    pub idle_timeout: Duration,
    /// How many passwords are meant to be worked on at a time; the cores of the machine, less one,
    /// but at least 1 by default. 1 to 64. The password hasher has a limit of its own, which should
    /// be the same; who comes beyond it waits here, in a fair order.
    pub login_concurrency: usize,
    /// The proxies whose `X-Forwarded-For` names who asks; none by default, and then that is
    /// whoever connects.
    pub trusted_proxies: Vec<Network>,
    /// Whether only the service routes are answered (`/health`, `/ready`, `/metrics` and the
    /// documentation), as a process without an API does; not by default.
    pub service_routes_only: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            cors_headers: Vec::new(),
            body_max: 16 * 1024,
            body_timeout: Duration::from_secs(10),
            ready_timeout: Duration::from_secs(2),
            connections_max: 10_000,
            streams_max: 100,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            login_concurrency: login_concurrency_default(),
            trusted_proxies: Vec::new(),
            service_routes_only: false,
        }
    }
}

/// The cores, less one, which the sale needs.
pub(crate) fn login_concurrency_default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, LOGIN_CONCURRENCY_MAX)
}

/// An IP address, or all that begin with the same bits, e.g. `10.0.0.0/8`.
///
/// ```
/// use flashsale_server::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("11.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// A text is not a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a network like 10.0.0.0/8")]
pub struct NotANetwork;

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                let apart = (ours.to_bits() ^ other.to_bits()).leading_zeros();
                apart >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                let apart = (ours.to_bits() ^ other.to_bits()).leading_zeros();
                apart >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| NotANetwork)?;
        if bits > all {
            return Err(NotANetwork);
        }
        Ok(Self { address, bits })
    }
}

/// Why an [`HttpConfig`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpConfigInvalid {
    /// An origin is scheme, host and, if it is not the usual one, port.
    #[error(
        "cors_origins: {0:?} is not an origin; write it like https://shop.example or http://localhost:3000, without a path"
    )]
    Origin(String),
    /// Each is the name of one header; `*` is none.
    #[error("cors_headers: {0:?} is not the name of a header; write it like x-shop-version")]
    Header(String),
    /// A login has to fit.
    #[error("body_max: {0} bytes is out of range; allowed are 1024 to 1048576")]
    BodyMax(usize),
    /// Somebody must be able to connect.
    #[error("connections_max: {0} is out of range; allowed are 1 to {max}", max = CONNECTIONS_MAX)]
    ConnectionsMax(usize),
    /// Somebody must be able to ask.
    #[error("streams_max: {0} is out of range; allowed are 1 to 10000")]
    StreamsMax(u32),
    /// Each takes a thread.
    #[error("login_concurrency: {0} is out of range; allowed are 1 to {max}", max = LOGIN_CONCURRENCY_MAX)]
    LoginConcurrency(usize),
    /// A wait of no length would refuse everything.
    #[error("{0}: must be longer than 0")]
    NoTime(&'static str),
}

impl HttpConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), HttpConfigInvalid> {
        for origin in &self.cors_origins {
            let host = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            let fits = host.is_some_and(|host| {
                !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ',', ' '])
            });
            if !fits || HeaderValue::from_str(origin).is_err() {
                return Err(HttpConfigInvalid::Origin(origin.clone()));
            }
        }
        for name in &self.cors_headers {
            // Browsers take a `*` for a wildcard, or for nothing, as the request has credentials.
            if name == "*" || HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(HttpConfigInvalid::Header(name.clone()));
            }
        }
        if !(1024..=1 << 20).contains(&self.body_max) {
            return Err(HttpConfigInvalid::BodyMax(self.body_max));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(HttpConfigInvalid::ConnectionsMax(self.connections_max));
        }
        if !(1..=10_000).contains(&self.streams_max) {
            return Err(HttpConfigInvalid::StreamsMax(self.streams_max));
        }
        if !(1..=LOGIN_CONCURRENCY_MAX).contains(&self.login_concurrency) {
            return Err(HttpConfigInvalid::LoginConcurrency(self.login_concurrency));
        }
        for (name, wait) in [
            ("body_timeout", self.body_timeout),
            ("ready_timeout", self.ready_timeout),
            ("request_timeout", self.request_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            if wait.is_zero() {
                return Err(HttpConfigInvalid::NoTime(name));
            }
        }
        Ok(())
    }
}
