use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One HTTP/1.1 connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// A status and a JSON body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// A text in `data`.
    pub(crate) fn data(&self, field: &str) -> &str {
        let text = self.body["data"][field].as_str();
        text.unwrap_or_else(|| panic!("no {field} in {self:?}"))
    }

    /// The code of a failure.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub(crate) async fn get(&mut self, path: &str, token: &str) -> io::Result<Answer> {
        self.write(&request("GET", path, token, "")).await?;
        self.answer().await
    }

    pub(crate) async fn post(&mut self, path: &str, token: &str, body: &str) -> io::Result<Answer> {
        self.write(&request("POST", path, token, body)).await?;
        self.answer().await
    }

    pub(crate) async fn attempt(&mut self, sale: i64, token: &str) -> io::Result<Answer> {
        self.post(&attempt_path(sale), token, "").await
    }

    /// Sends `count` attempts in one go, then reads their answers.
    pub(crate) async fn attempts(
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
    pub(crate) async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await
    }

    /// Reads one answer; one with a 1xx status has no body.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let head = self.line().await?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {head:?}")))?;
        let mut length = 0;
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            assert!(
                !line.starts_with("transfer-encoding"),
                "this client knows lengths only"
            );
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let body = if length == 0 {
            Value::Null
        } else {
            serde_json::from_slice(&body)?
        };
        Ok(Answer { status, body })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn attempt_path(sale: i64) -> String {
    format!("/api/flash-sale/attempt/{sale}")
}

fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
