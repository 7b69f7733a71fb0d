use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ControlAddress, ControlSocket, Reply, Request};

/// How long a server may take to answer; longer than it gives itself.
const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// The longest reply, in bytes: some hundred thousand sales.
const REPLY_MAX: u64 = 64 * 1_024 * 1_024;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answers at the address; nothing has happened.
    #[error("nobody answers on the control socket: {0}")]
    Nobody(#[source] io::Error),
    /// The socket belongs to somebody else; nothing was sent.
    #[error("the control socket belongs to another user of the system; run this as that user")]
    NotOurs,
    /// The request is too long; nothing was sent.
    #[error("the request is longer than {max} bytes", max = ControlSocket::REQUEST_MAX)]
    TooLong,
    /// The answer did not come; what was asked may have happened.
    #[error(
        "the server broke off before it had answered, and what was asked may have happened: {0}"
    )]
    Lost(String),
}

/// Asks the server that has the database open.
///
/// # Errors
/// Only [`AskError::Nobody`] is worth another try.
pub(crate) async fn ask(address: &ControlAddress, request: &Request) -> Result<Reply, AskError> {
    let socket = address.find().map_err(AskError::Nobody)?;
    let mut stream = UnixStream::connect(&socket)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => AskError::NotOurs,
            _ => AskError::Nobody(error),
        })?;
    // Whoever answers is told passwords.
    let server = stream.peer_cred().map_err(AskError::Nobody)?;
    if !address.trusts(server.uid()) {
        return Err(AskError::NotOurs);
    }
    let mut line = serde_json::to_vec(request).expect("a request is plain data");
    line.push(b'\n');
    if line.len() as u64 > ControlSocket::REQUEST_MAX {
        return Err(AskError::TooLong);
    }
    let answer = timeout(ANSWER_WAIT, exchange(&mut stream, &line)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(AskError::Lost(error.to_string())),
        Err(_) => return Err(AskError::Lost("no answer in time".to_owned())),
    };
    serde_json::from_slice(&answer).map_err(|error| AskError::Lost(error.to_string()))
}

async fn exchange(stream: &mut UnixStream, line: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(line).await?;
    let mut answer = Vec::new();
    stream.take(REPLY_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}
