use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::program::{find, run};

/// Certifies servers and clients for two days, by the program `openssl`. Its files go with it.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    next: AtomicU32,
}

/// A certificate and its key, as files in PEM.
#[derive(Debug)]
pub struct Certificate {
    root: String,
    /// The certificate.
    pub certificate: String,
    /// Its key, which everybody may read.
    pub key: String,
}

impl Authority {
    /// A new one that nobody trusts yet.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Self {
            folder,
            next: AtomicU32::new(1),
        };
        fs::write(
            authority.path("config"),
            "[req]\ndistinguished_name=dn\n[dn]\n",
        )
        .expect("a file");
        let is_ca = "basicConstraints=critical,CA:TRUE";
        // No two have the same name, as no two real ones have.
        let name = authority.folder.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        authority.make("root", &name, &["-addext", is_ca]);
        authority
    }

    /// The file that those who trust it need.
    pub fn file(&self) -> String {
        self.path("root.pem").display().to_string()
    }

    /// Certifies a server with these names, each like `DNS:localhost` or `IP:127.0.0.1`.
    pub fn certify(&self, names: &[&str]) -> Certificate {
        let names = format!("subjectAltName={}", names.join(","));
        self.issue("a server", &["-addext", &names])
    }

    /// Certifies a client with this name.
    pub fn certify_client(&self, name: &str) -> Certificate {
        self.issue(name, &[])
    }

    fn issue(&self, subject: &str, extensions: &[&str]) -> Certificate {
        let name = format!("issued-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let (root, key) = (self.file(), self.path("root.key").display().to_string());
        let by = ["-CA", &root, "-CAkey", &key];
        let plain = ["-addext", "basicConstraints=critical,CA:FALSE"];
        self.make(&name, subject, &[&by[..], &plain, extensions].concat());
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        Certificate {
            certificate: path("pem"),
            key: path("key"),
            root,
        }
    }

    fn make(&self, name: &str, subject: &str, extensions: &[&str]) {
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        let (config, subject) = (
            self.path("config").display().to_string(),
            format!("/CN={subject}"),
        );
        let (key, certificate) = (path("key"), path("pem"));
        let mut arguments = vec!["req", "-x509", "-config", &config, "-days", "2", "-nodes"];
        arguments.extend(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        arguments.extend(["-subj", &subject, "-keyout", &key, "-out", &certificate]);
        arguments.extend(extensions);
        run(&find("openssl"), arguments);
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}

impl Certificate {
    /// The files of whoever has issued it, of itself, and of its key.
    pub(crate) fn files(&self) -> [String; 3] {
        [&self.root, &self.certificate, &self.key].map(String::clone)
    }
}
