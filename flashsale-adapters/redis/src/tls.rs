//! Encrypted connections. The parameters of an address have the names that libpq gives them.

use std::path::PathBuf;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};

use crate::config::InvalidRedisConfig;

/// The files that an address names.
#[derive(Default)]
struct Files {
    /// `sslrootcert`: whom to trust instead of the roots of the system.
    root: Option<PathBuf>,
    /// `sslcert`: who we are.
    certificate: Option<PathBuf>,
    /// `sslkey`: the proof.
    key: Option<PathBuf>,
}

/// The address with the certificates that it names, if it is one of an encrypted connection.
pub(crate) fn with_certificates(
    url: &str,
    info: ConnectionInfo,
) -> Result<ConnectionInfo, InvalidRedisConfig> {
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            return Err(certificates(
                "#insecure trusts everybody: name the CA in sslrootcert instead",
            ));
        }
        ConnectionAddr::TcpTls { .. } => {}
        _ => return Ok(info),
    }
    // Whoever uses rustls, too, and has decided on another implementation, was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let files = Files::named_in(url)?;
    let client_tls = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read("sslcert", certificate)?,
            client_key: read("sslkey", key)?,
        }),
        (None, None) => None,
        _ => return Err(certificates("sslcert and sslkey go together")),
    };
    let root_cert = files.root.as_ref().map(|file| read("sslrootcert", file));
    let named = TlsCertificates {
        client_tls,
        root_cert: root_cert.transpose()?,
    };
    let client = Client::build_with_tls(info, named)
        .map_err(|error| certificates(&format!("correct the files of ssl…: {error}")))?;
    Ok(client.get_connection_info().clone())
}

impl Files {
    fn named_in(url: &str) -> Result<Self, InvalidRedisConfig> {
        let mut files = Self::default();
        let url = redis::parse_redis_url(url);
        for (name, value) in url.iter().flat_map(|url| url.query_pairs()) {
            let file = match &*name {
                "sslrootcert" => &mut files.root,
                "sslcert" => &mut files.certificate,
                "sslkey" => &mut files.key,
                // A misspelt one must not lead to somebody else being trusted.
                _ => {
                    let known = "sslrootcert, sslcert and sslkey";
                    let problem = format!("it has the parameter {name:?}, and can have {known}");
                    return Err(certificates(&problem));
                }
            };
            *file = Some(PathBuf::from(&*value));
        }
        Ok(files)
    }
}

fn read(parameter: &str, file: &PathBuf) -> Result<Vec<u8>, InvalidRedisConfig> {
    let read = std::fs::read(file);
    let text =
        read.map_err(|error| certificates(&format!("{parameter} {}: {error}", file.display())))?;
    // The driver takes a file without any for one that trusts nobody.
    match text.windows(11).any(|part| part == b"-----BEGIN ") {
        true => Ok(text),
        false => Err(certificates(&format!(
            "{parameter} {}: it is no PEM file",
            file.display()
        ))),
    }
}

fn certificates(problem: &str) -> InvalidRedisConfig {
    InvalidRedisConfig::Certificates {
        problem: problem.to_owned(),
    }
}
