use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of 127.0.0.1 on which nobody listened when it was chosen.
///
/// Between that moment and the start of its server somebody else might choose it, too. So the same
/// port is held over UDP, which none of our servers use, as a sign to all processes that choose
/// their ports here. The system takes the sign down when this process ends.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _sign: UdpSocket,
}

impl Port {
    /// A free one.
    pub(crate) fn free() -> Self {
        Self::free_with(0)
    }

    /// A free one, so that the one that is `further` above it is free as well.
    pub(crate) fn free_with(further: u16) -> Self {
        /// Below those that systems hand out to clients, so that no connection takes it meanwhile.
        const FIRST: u16 = 12_000;
        const COUNT: u16 = 9_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Processes start at different places, so that they seldom meet.
        let start = std::process::id() % u32::from(COUNT);
        let start = u16::try_from(start).expect("it is below COUNT");
        (0..COUNT)
            .map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
            .filter(|number| nobody_listens(number + further))
            .find_map(Self::take)
            .expect("one of 9,000 ports is free")
    }

    /// The first free one from this one on.
    pub(crate) fn free_from(first: u16) -> Self {
        (first..=u16::MAX)
            .find_map(Self::take)
            .expect("one of the ports is free")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    fn take(number: u16) -> Option<Self> {
        let _sign = UdpSocket::bind(("127.0.0.1", number)).ok()?;
        nobody_listens(number).then_some(Self { number, _sign })
    }
}

fn nobody_listens(number: u16) -> bool {
    TcpListener::bind(("127.0.0.1", number)).is_ok()
}
