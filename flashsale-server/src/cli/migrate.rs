use super::{CommonArgs, Failure, database, logging, print};
use crate::control::{ControlAddress, Reply, Request, ask};

/// `migrate`: opening the database brings it up to date.
pub(super) async fn run(args: CommonArgs) -> Result<(), Failure> {
    let store = args.store.validate()?;
    logging::start(args.log.validate()?, "warn");
    let file = store.file.display();
    match database::open(&store) {
        Ok(engine) => {
            drop(engine);
            print(&format!("{file} is up to date"))
        }
        Err(database::OpenFailure::InUse(in_use)) => {
            let address = ControlAddress::of(&store.file);
            match ask(&address, &Request::Ping).await {
                Ok(Reply::Pong) => print(&format!(
                    "{file} is up to date: a running server has it open, and brought it up to \
                     date when it started"
                )),
                Ok(_) | Err(_) => Err(Failure::failed(in_use)),
            }
        }
        Err(database::OpenFailure::Other(failure)) => Err(failure),
    }
}
