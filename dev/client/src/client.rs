use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Answer;
use crate::request::{attempt_path, request};

/// One HTTP/1.1 connection that is kept alive.
///
/// An error leaves it of no use. It knows answers with a `content-length` only, of at most
/// [`ANSWER_MAX`](Self::ANSWER_MAX) bytes.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// What has come and is not used yet is `buffer[used..filled]`.
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
}

/// Where in the buffer an answer is, from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    status: u16,
    head_len: usize,
    body_len: usize,
}

impl Client {
    /// The longest answer, in bytes.
    pub const ANSWER_MAX: usize = 16 << 20;
    const BUFFER_LEN: usize = 4 << 10;

    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; Self::BUFFER_LEN],
            used: 0,
            filled: 0,
        })
    }

    /// Gets a path.
    ///
    /// # Errors
    /// If the connection breaks, or what comes is not an answer.
    pub async fn get(&mut self, path: &str, token: &str) -> io::Result<Answer> {
        self.write(&request("GET", path, token, "")).await?;
        self.answer().await
    }

    /// Posts a JSON text to a path.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn post(&mut self, path: &str, token: &str, body: &str) -> io::Result<Answer> {
        self.write(&request("POST", path, token, body)).await?;
        self.answer().await
    }

    /// Tries to buy in a sale.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn attempt(&mut self, sale: i64, token: &str) -> io::Result<Answer> {
        self.post(&attempt_path(sale), token, "").await
    }

    /// Sends `count` attempts in one go, then reads their answers.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn attempts(
        &mut self,
        sale: i64,
        token: &str,
        count: usize,
    ) -> io::Result<Vec<Answer>> {
        let one = request("POST", &attempt_path(sale), token, "");
        self.write(&one.repeat(count)).await?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    /// Sends text as it is.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await
    }

    /// Reads one answer; one with a 1xx status has no body.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let (status, body) = self.answer_bytes().await?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body)?
        };
        Ok(Answer { status, body })
    }

    /// Reads one answer and leaves its body as it is.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn answer_bytes(&mut self) -> io::Result<(u16, &[u8])> {
        let found = loop {
            if let Some(found) = find(&self.buffer[self.used..self.filled])? {
                break found;
            }
            self.read_more().await?;
        };
        let body = self.used + found.head_len;
        self.used = body + found.body_len;
        Ok((found.status, &self.buffer[body..self.used]))
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.used > 0 {
            self.buffer.copy_within(self.used..self.filled, 0);
            self.filled -= self.used;
            self.used = 0;
        }
        if self.filled == self.buffer.len() {
            if self.filled >= Self::ANSWER_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
            self.buffer.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }
}

/// The answer that these bytes begin with, if all of it is there.
fn find(bytes: &[u8]) -> io::Result<Option<Found>> {
    let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
        return Ok(None);
    };
    let not_http = || io::Error::other(format!("not HTTP: {:?}", &bytes[..end]));
    let head = str::from_utf8(&bytes[..end]).map_err(|_| not_http())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok());
    let mut found = Found {
        status: status.ok_or_else(not_http)?,
        head_len: end + 4,
        body_len: 0,
    };
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            found.body_len = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::Error::other("this client knows lengths only"));
        }
    }
    let whole = bytes.len() >= found.head_len + found.body_len;
    Ok(whole.then_some(found))
}

#[cfg(test)]
mod tests {
    use super::{Found, find};

    #[test]
    fn an_answer_is_found_when_all_of_it_is_there() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 ";
        let found = Found {
            status: 200,
            head_len: 38,
            body_len: 2,
        };
        assert_eq!(find(bytes).unwrap(), Some(found));
        for len in 0..40 {
            assert_eq!(find(&bytes[..len]).unwrap(), None, "{len}");
        }
        find(b"SMTP\r\n\r\n").unwrap_err();
        find(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err();
    }
}
