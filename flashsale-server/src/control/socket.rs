use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Commands, ControlAddress, Refusal, Reply, Request};

/// The server's end of the control channel. Dropping it removes its files.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    files: Files,
    owner: u32,
}

/// What has to be removed at the end.
#[derive(Debug)]
struct Files {
    beside: PathBuf,
    /// Holds the socket if the path beside the database is too long for one.
    _elsewhere: Option<TempDir>,
}

impl Drop for Files {
    fn drop(&mut self) {
        // If this fails, a client finds that nobody answers there, and the next server replaces it.
        let _ = fs::remove_file(&self.beside);
    }
}

impl ControlSocket {
    /// The longest request, in bytes.
    pub(crate) const REQUEST_MAX: u64 = 16 * 1_024;
    /// How much more than a request a client may send and still read its refusal, in bytes.
    const UNREAD_MAX: u64 = 1 << 20;
    /// How long a client may take to send its request.
    const REQUEST_WAIT: Duration = Duration::from_secs(5);
    /// How long a request may take altogether.
    const REPLY_WAIT: Duration = Duration::from_secs(30);
    /// How many clients are served at a time; more of them wait.
    const CLIENTS_MAX: usize = 16;

    /// Makes the socket. Only the process that has the database open may call this: whatever is
    /// found at the address is then left over from a server that was killed, and is replaced.
    ///
    /// # Errors
    /// If the folder cannot be written, or something that is not ours has the name.
    pub(crate) fn bind(address: &ControlAddress) -> io::Result<Self> {
        remove_leftover(address)?;
        let beside = address.beside.clone();
        let elsewhere = if address.is_short() {
            None
        } else {
            let private = Permissions::from_mode(0o700);
            Some(
                tempfile::Builder::new()
                    .prefix("flashsale-")
                    .permissions(private)
                    .tempdir()?,
            )
        };
        let socket = match &elsewhere {
            None => beside.clone(),
            Some(folder) => folder.path().join("ctl"),
        };
        let listener = UnixListener::bind(&socket)?;
        let files = Files {
            beside,
            _elsewhere: elsewhere,
        };
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&socket)?.uid();
        if socket != files.beside {
            fs::write(&files.beside, ControlAddress::note(&socket))?;
            fs::set_permissions(&files.beside, Permissions::from_mode(0o600))?;
        }
        Ok(Self {
            listener,
            files,
            owner,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.files.beside
    }

    /// Answers requests until `stop` is done, finishes those that have begun, and removes the
    /// socket.
    pub(crate) async fn serve(self, commands: Commands, stop: impl Future<Output = ()>) {
        let commands = Arc::new(commands);
        let places = Arc::new(Semaphore::new(Self::CLIENTS_MAX));
        let mut clients = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stop => break,
                next = accepted => next,
            };
            while clients.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) if self.may_ask(&stream) => {
                    let commands = Arc::clone(&commands);
                    clients.spawn(async move {
                        converse(stream, &commands).await;
                        drop(place);
                    });
                }
                Ok(_) => {
                    tracing::warn!("another user of the system was refused at the control socket")
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        drop(self);
        while clients.join_next().await.is_some() {}
    }

    /// The file mode says the same; this holds also in the moment before the mode is set, and on
    /// systems that do not look at the mode of sockets.
    fn may_ask(&self, stream: &UnixStream) -> bool {
        let peer = stream.peer_cred().map(|peer| peer.uid());
        matches!(peer, Ok(uid) if uid == self.owner || uid == 0)
    }
}

/// Removes what a killed server has left, also the folder of a socket that is elsewhere.
fn remove_leftover(address: &ControlAddress) -> io::Result<()> {
    let socket = match address.find() {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if socket != address.beside
        && fs::symlink_metadata(&socket).is_ok_and(|there| there.file_type().is_socket())
    {
        // It is in nobody's way; only a folder that holds nothing else is removed.
        let _ = fs::remove_file(&socket);
        let _ = socket.parent().map(fs::remove_dir);
    }
    fs::remove_file(&address.beside)
}

/// One request, one reply. A client that goes away or takes too long is let go.
async fn converse(mut stream: UnixStream, commands: &Commands) {
    let reply = match timeout(ControlSocket::REQUEST_WAIT, read_request(&mut stream)).await {
        Ok(Ok(request)) => perform(request, commands).await,
        Ok(Err(refusal)) => Reply::Refused(refusal),
        Err(_) => Reply::Refused(Refusal::RequestLate),
    };
    let Ok(mut line) = serde_json::to_vec(&reply) else {
        return;
    };
    line.push(b'\n');
    let sent = async {
        stream.write_all(&line).await?;
        stream.shutdown().await?;
        // Closing on bytes that were not read would take the reply from the client.
        let mut rest = stream.take(ControlSocket::UNREAD_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(ControlSocket::REQUEST_WAIT, sent).await;
}

async fn perform(request: Request, commands: &Commands) -> Reply {
    let command = request.name();
    let performed = timeout(ControlSocket::REPLY_WAIT, commands.perform(request)).await;
    let reply = performed.unwrap_or(Reply::TimedOut);
    tracing::info!(command, outcome = reply.outcome(), "answered a command");
    reply
}

async fn read_request(stream: &mut UnixStream) -> Result<Request, Refusal> {
    let mut line = Vec::new();
    let mut limited = BufReader::new(stream.take(ControlSocket::REQUEST_MAX));
    let read = limited.read_until(b'\n', &mut line).await;
    read.map_err(|error| Refusal::RequestUnreadable {
        problem: error.to_string(),
    })?;
    if line.last() != Some(&b'\n') {
        let max = ControlSocket::REQUEST_MAX;
        return Err(Refusal::RequestNoLine { max });
    }
    // The parser's message would repeat parts of the request, which may hold a password.
    serde_json::from_slice(&line).map_err(|_| Refusal::RequestUnknown)
}
