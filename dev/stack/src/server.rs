use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;

use rustix::process::{Pid, Signal};

use crate::home::Home;
use crate::port::Port;
use crate::process::{children, is_alive, is_frozen, signal, wait_until};
use crate::program::tail;

/// A server as a process: what all of them have in common.
///
/// # Panics
/// Every method, if it does not succeed within 30 s.
pub struct Server {
    name: &'static str,
    command: Vec<String>,
    /// Whether it answers, and is the one that was started.
    ready: Ready,
    process: Option<Pid>,
    home: Home,
    port: Port,
}

type Ready = Box<dyn Fn() -> bool + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl Server {
    /// One that is not running yet.
    pub(crate) fn new(
        name: &'static str,
        (home, port): (Home, Port),
        command: Vec<String>,
        ready: impl Fn() -> bool + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Self {
        Self {
            name,
            command,
            ready: Box::new(ready),
            process: None,
            home,
            port,
        }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The id of its process, if it was started.
    pub fn id(&self) -> Option<u32> {
        let process = self.process?;
        u32::try_from(process.as_raw_nonzero().get()).ok()
    }

    /// Its folder. What it prints is in the file `log`.
    pub fn folder(&self) -> &Path {
        self.home.folder()
    }

    /// Whether its process is there, frozen or not.
    pub fn is_running(&self) -> bool {
        self.process.is_some_and(is_alive)
    }

    /// Starts what was reserved, stopped or killed, on its port and its data, and waits until it
    /// serves.
    pub fn start_now(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.process = Some(self.home.start(&self.command));
        self.wait("does not get ready", || {
            assert!(self.is_running(), "{} has ended{}", self.name, self.log());
            (self.ready)()
        });
    }

    /// Ends it in good order; its data are kept.
    pub fn stop(&mut self) {
        let process = self.process();
        self.thaw();
        let mut tries = 0;
        self.wait("does not end", || {
            // Once is not enough: Redis refuses while it writes its first file.
            if tries % 100 == 0 {
                signal(process, self.home.ending());
            }
            tries += 1;
            !is_alive(process)
        });
        self.forget();
    }

    /// Ends it and its children with SIGKILL; its data are kept as far as it has written them.
    pub fn kill(&mut self) {
        let process = self.process();
        // Frozen, it starts no further child; dead, it has none any more.
        self.freeze();
        let family = [&[process], &children(process)[..]].concat();
        for member in &family {
            signal(*member, Signal::KILL);
        }
        self.wait("does not die", || !family.iter().copied().any(is_alive));
        self.forget();
    }

    /// Starts it again, after ending it in good order if it runs, on the same port and data.
    pub fn restart(&mut self) {
        if self.is_running() {
            self.stop();
        } else if self.process.is_some() {
            self.forget();
        }
        self.start_now();
    }

    /// Freezes it and its children in the middle of whatever they do (SIGSTOP). The system still
    /// accepts connections for it.
    pub fn freeze(&self) {
        let process = self.process();
        let freeze = |member| {
            signal(member, Signal::STOP);
            self.wait("does not freeze", || is_frozen(member));
        };
        // It first, so that it starts no further child.
        freeze(process);
        children(process).into_iter().for_each(freeze);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        let process = self.process();
        for member in [process].into_iter().chain(children(process)) {
            signal(member, Signal::CONT);
        }
    }

    fn process(&self) -> Pid {
        let process = self.process;
        process.unwrap_or_else(|| panic!("{} is not running", self.name))
    }

    fn forget(&mut self) {
        self.process = None;
        self.home.end();
    }

    fn wait(&self, trouble: &str, holds: impl FnMut() -> bool) {
        let in_time = wait_until(holds);
        assert!(in_time, "{} {trouble}{}", self.name, self.log());
    }

    /// The end of its log.
    fn log(&self) -> String {
        format!("; its log ends with:\n{}", tail(&self.folder().join("log")))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("port", &self.port())
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}
