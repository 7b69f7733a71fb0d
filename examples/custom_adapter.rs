//! An adapter of one's own, proved by the conformance suite of its port: an audit trail that
//! appends a line per refusal to a text file.
//!
//! `cargo run -p flashsale-examples --bin custom_adapter` prints what the suite has found.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flashsale_core::domain::{SaleId, Timestamp, UserId};
use flashsale_core::ports::{AttemptRecord, AttemptRepo, BATCH_MAX, OrderRepo, RecordedOutcome};
use flashsale_core::testing::{self, AttemptRepoRig, Fixture, ManualClock};
use flashsale_core::{ErrorKind, PortError};
use flashsale_embedded::{EmbeddedConfig, EmbeddedEngine};
use tempfile::TempDir;

/// The audit trail in a text file: `sale user time outcome` in each line.
///
/// Keeps all refusals. Accepted attempts are in it because it reads them from the orders. Every
/// question reads the whole file and all orders of the sale: good for thousands, not for millions.
#[derive(Debug)]
struct FileAttemptRepo {
    path: PathBuf,
    file: Mutex<File>,
    orders: Arc<dyn OrderRepo>,
}

impl FileAttemptRepo {
    /// Opens the file, or makes it.
    fn open(path: &Path, orders: Arc<dyn OrderRepo>) -> Result<Self, PortError> {
        let mut options = OpenOptions::new();
        let mut file = fault(
            "open",
            options.create(true).append(true).read(true).open(path),
        )?;
        let mut text = Vec::new();
        fault("open", file.read_to_end(&mut text))?;
        // A crash may have left half a line; what was answered for ends with a line break.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        fault("open", file.set_len(whole as u64))?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            orders,
        })
    }

    fn refusals(&self, sale: SaleId, user: &UserId) -> Result<Vec<AttemptRecord>, PortError> {
        let _nobody_writes = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = fault("history", std::fs::read_to_string(&self.path))?;
        let mut found = Vec::new();
        for line in text.lines() {
            let damaged = || PortError::new(ErrorKind::Corrupt, ADAPTER, "history");
            let [of, who, at, outcome] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(damaged().with_source(format!("not four words: {line}")));
            };
            if of == sale.to_string() && who == user.as_str() {
                let at = at.parse().map_err(|error| damaged().with_source(error))?;
                found.push(AttemptRecord {
                    sale,
                    user: user.clone(),
                    at: Timestamp::from_millis(at),
                    outcome: refusal(outcome).ok_or_else(damaged)?,
                });
            }
        }
        Ok(found)
    }

    async fn accepted(&self, sale: SaleId, user: &UserId) -> Result<Vec<AttemptRecord>, PortError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let orders = self.orders.list(sale, after, BATCH_MAX).await?;
            let Some(last) = orders.last() else {
                return Ok(found);
            };
            after = Some(last.id);
            let own = orders.into_iter().filter(|order| order.user == *user);
            found.extend(own.map(|order| AttemptRecord {
                sale,
                user: order.user,
                at: order.reserved_at,
                outcome: RecordedOutcome::Accepted(order.attempt),
            }));
        }
    }
}

#[async_trait]
impl AttemptRepo for FileAttemptRepo {
    async fn record(&self, refusals: &[AttemptRecord]) -> Result<(), PortError> {
        if refusals.len() > BATCH_MAX {
            return Err(PortError::new(ErrorKind::Invalid, ADAPTER, "record"));
        }
        let mut lines = String::new();
        for AttemptRecord {
            sale,
            user,
            at,
            outcome,
        } in refusals
        {
            if !matches!(outcome, RecordedOutcome::Accepted(_)) {
                let (at, outcome) = (at.as_millis(), outcome.name());
                lines.push_str(&format!("{sale} {user} {at} {outcome}\n"));
            }
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file
            .write_all(lines.as_bytes())
            .and_then(|()| file.sync_data());
        fault("record", written).map_err(PortError::effect_unknown)
    }

    async fn history(
        &self,
        sale: SaleId,
        user: &UserId,
        max: usize,
    ) -> Result<Vec<AttemptRecord>, PortError> {
        let mut history = self.refusals(sale, user)?;
        history.extend(self.accepted(sale, user).await?);
        history.sort_by_key(|record| std::cmp::Reverse(record.at));
        history.truncate(max);
        Ok(history)
    }
}

const ADAPTER: &str = "file";

fn refusal(name: &str) -> Option<RecordedOutcome> {
    use RecordedOutcome::{Ended, NotStarted, Paused, SoldOut};
    let all = [SoldOut, NotStarted, Ended, Paused];
    all.into_iter().find(|outcome| outcome.name() == name)
}

fn fault<T>(operation: &'static str, done: std::io::Result<T>) -> Result<T, PortError> {
    done.map_err(|error| {
        PortError::new(ErrorKind::Unavailable, ADAPTER, operation).with_source(error)
    })
}

/// Shows the suite how to open the adapter: beside an embedded engine, which keeps the orders.
#[derive(Debug)]
struct Files(TempDir);

#[async_trait]
impl Fixture<AttemptRepoRig> for Files {
    async fn open(&self, place: &str) -> Result<AttemptRepoRig, PortError> {
        let path = |ending| self.0.path().join(place).with_extension(ending);
        let config = EmbeddedConfig::new(path("db"));
        let engine = EmbeddedEngine::open(config, Arc::new(ManualClock::default()));
        let unusable =
            |error| PortError::new(ErrorKind::Misconfigured, ADAPTER, "open").with_source(error);
        let engine = engine.map_err(unusable)?;
        let trail = FileAttemptRepo::open(&path("txt"), engine.orders())?;
        Ok(AttemptRepoRig {
            attempts: Arc::new(trail),
            orders: engine.orders(),
            sales: engine.sales(),
        })
    }

    fn durable(&self) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = testing::attempt_repo(&Files(tempfile::tempdir()?)).await;
    println!("{report}");
    report.assert_passed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_audit_trail_in_a_file_keeps_its_contract() {
        let report = testing::attempt_repo(&Files(tempfile::tempdir().unwrap())).await;
        report.assert_passed();
        assert!(report.skipped().is_empty(), "{report}");
    }
}
