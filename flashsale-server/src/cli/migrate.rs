#[cfg(feature = "distributed")]
use super::distributed;
use super::embedded::{self, OpenFailure};
use super::{CliError, CommonArgs, logging, print};
use crate::config::{FileConfig, StoreConfig};
use crate::control::{ControlAddress, Reply, Request, ask};

/// `migrate`
pub(super) async fn run(args: CommonArgs) -> Result<(), CliError> {
    let store = args.store.validate()?;
    logging::start(args.log.validate()?, "warn");
    match store {
        StoreConfig::File(file) => migrate_file(&file).await,
        #[cfg(feature = "distributed")]
        StoreConfig::Servers(servers) => {
            distributed::migrate(&servers).await?;
            print("the database is up to date")
        }
    }
}

/// Opening the database brings it up to date.
async fn migrate_file(store: &FileConfig) -> Result<(), CliError> {
    let file = store.file.display();
    match embedded::open(store) {
        Ok(engine) => {
            drop(engine);
            print(&format!("{file} is up to date"))
        }
        Err(OpenFailure::InUse(in_use)) => {
            let address = ControlAddress::of(&store.file);
            match ask(&address, &Request::Ping).await {
                Ok(Reply::Pong) => print(&format!(
                    "{file} is up to date: a running server has it open, and brought it up to \
                     date when it started"
                )),
                Ok(_) | Err(_) => Err(CliError::failed(in_use)),
            }
        }
        Err(OpenFailure::Other(failure)) => Err(failure),
    }
}
