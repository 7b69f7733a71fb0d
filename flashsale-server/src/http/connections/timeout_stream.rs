use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Timeouts;

/// A connection that gives up on a peer who keeps it waiting.
///
/// It cannot see requests, but it sees bytes: those that come after our last answer belong to the
/// next request, which has to get an answer within [`Timeouts::request`] from its first byte,
/// however slowly the others trickle. Between requests there is [`Timeouts::idle`].
///
/// The timer only ticks and looks at a note of the time, so a request costs no timer.
pub(crate) struct TimeoutStream {
    socket: TcpStream,
    timeouts: Timeouts,
    phase: Phase,
    since: Instant,
    tick: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come since we last sent something.
    Idle,
    /// A request is coming in or being answered.
    Request,
}

impl TimeoutStream {
    pub(super) fn new(socket: TcpStream, timeouts: Timeouts, slot: OwnedSemaphorePermit) -> Self {
        let since = Instant::now();
        Self {
            socket,
            timeouts,
            // A peer that connects and says nothing is no better than one that stops in the middle.
            phase: Phase::Request,
            since,
            tick: Box::pin(sleep_until(since + timeouts.tick())),
            _slot: slot,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }

    /// Ready when the peer has kept us waiting for too long.
    fn poll_out_of_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let timeout = match self.phase {
                Phase::Idle => self.timeouts.idle,
                Phase::Request => self.timeouts.request,
            };
            let now = Instant::now();
            if now >= self.since + timeout {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.tick.as_mut().reset(now + self.timeouts.tick());
        }
    }

    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.enter(Phase::Idle);
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_out_of_patience(cx).map(Err),
        }
    }
}

impl Timeouts {
    /// How often the clock is looked at; a connection is cut that much too late at worst.
    fn tick(self) -> std::time::Duration {
        self.idle.min(self.request) / 4
    }
}

impl AsyncRead for TimeoutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.socket).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if this.phase == Phase::Idle {
                    this.enter(Phase::Request);
                }
                Poll::Ready(read)
            }
            Poll::Pending => this.poll_out_of_patience(cx).map(Err),
        }
    }
}

impl AsyncWrite for TimeoutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.after_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
