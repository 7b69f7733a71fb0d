use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use flashsale_auth::{JwtConfig, JwtKey, JwtTokenIssuer};
use flashsale_core::domain::{Role, Timestamp, UserId};
use flashsale_core::ports::TokenIssuer;
use serde_json::Value;
use tempfile::TempDir;

use super::ServerProcess;

/// A database in a folder of its own.
#[derive(Debug)]
pub(crate) struct Shop {
    folder: TempDir,
    pub(crate) file: PathBuf,
}

impl Shop {
    /// Signs the tokens of every server over a shop.
    pub(crate) const SECRET: &str = "a secret of the tests, 32 bytes or more";

    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.db");
        Self { folder, file }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.file.display())
    }

    /// The program with only what it cannot do without in its environment.
    pub(crate) fn program() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flashsale-server"));
        command.env_clear().stdin(Stdio::null());
        for kept in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    /// A command on this shop.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Self::program();
        command.args(arguments).env("DATABASE_URL", self.url());
        // What a killed server leaves goes with the shop.
        command.env("TMPDIR", self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command with `input` as its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that fails early does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Makes a sale that has started.
    pub(crate) fn open_sale(&self, product: &str, stock: u64) -> Value {
        let stock = stock.to_string();
        self.json(&[
            "sale",
            "create",
            "--product",
            product,
            "--stock",
            &stock,
            "--end",
            "+1h",
            "--json",
        ])
    }

    /// Starts a server on this shop, on a port that the system chooses.
    pub(crate) fn serve(&self) -> ServerProcess {
        ServerProcess::start(&mut self.serve_command())
    }

    /// The command that [`serve`](Self::serve) starts.
    pub(crate) fn serve_command(&self) -> Command {
        let mut command = self.command(&["serve"]);
        command.env("BCRYPT_COST", "4");
        command
    }

    /// A token as the server itself would issue it.
    pub(crate) fn token(user: &str) -> String {
        let key = JwtKey::hs256("1", Self::SECRET);
        let issuer = JwtTokenIssuer::new(JwtConfig::new([key])).unwrap();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap());
        let user = UserId::new(user).unwrap();
        issuer
            .issue(&user, user.as_str(), Role::Buyer, now)
            .unwrap()
            .token
    }
}
