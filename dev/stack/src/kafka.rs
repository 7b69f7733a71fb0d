use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::ports::free_port;
use crate::service::{Service, fresh_folder, output};

/// An Apache Kafka of one node, broker and controller (KRaft), tuned to come back quickly. It makes
/// no topic by itself.
#[derive(Debug)]
pub struct Kafka {
    service: Service,
    port: u16,
}

/// Small, and quick to start.
const JVM: [&str; 4] = [
    "-Xmx384m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
];

impl Kafka {
    /// Starts one.
    pub fn start() -> Self {
        let mut kafka = Self::reserve();
        kafka.start_now();
        kafka
    }

    /// One that has its port and is not running yet.
    pub fn reserve() -> Self {
        let (port, controller) = (free_port(), free_port());
        let mut service = Service::new("kafka", fresh_folder("kafka"), Signal::TERM);
        let folder = service.folder().to_owned();
        let properties = folder.join("server.properties");
        fs::write(&properties, settings(&folder, port, controller)).expect("a file");
        let id = output(&mut tool(&["random-uuid"])).unwrap_or_else(|error| panic!("{error}"));
        let properties = properties.display().to_string();
        let mut format = tool(&["format", "--standalone", "-t", id.trim(), "-c", &properties]);
        output(&mut format).unwrap_or_else(|error| panic!("{error}"));
        let mut command = vec!["java".to_owned()];
        command.extend(JVM.map(String::from));
        command.push("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned());
        command.extend([
            "-cp".to_owned(),
            class_path(),
            "kafka.Kafka".to_owned(),
            properties,
        ]);
        service.set_command(command);
        Self { service, port }
    }

    /// Starts what was [reserved](Self::reserve).
    pub fn start_now(&mut self) {
        // The port opens only when the broker serves.
        let port = self.port;
        self.service
            .start(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// `127.0.0.1:PORT`
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The id of its process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.id()
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        self.service.stop();
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.service.kill();
    }

    /// Starts it again, after ending it if it runs, on the same port and data.
    pub fn restart(&mut self) {
        if self.service.is_running() {
            self.stop();
        }
        self.start_now();
    }

    /// Stops it in the middle of whatever it does.
    pub fn freeze(&self) {
        self.service.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.service.thaw();
    }
}

/// The storage tool of Kafka.
fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new("java");
    command
        .args(JVM)
        .args(["-cp", &class_path(), "kafka.tools.StorageTool"]);
    command.args(arguments);
    command
}

fn class_path() -> String {
    let libraries = match std::env::var_os("FLASHSALE_KAFKA_LIB") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.services/kafka/lib"),
    };
    let installed = libraries.is_dir();
    assert!(
        installed,
        "Kafka is not installed; run `dev/services install`"
    );
    format!("{}/*", libraries.display())
}

fn settings(folder: &Path, port: u16, controller: u16) -> String {
    let data = folder.join("data");
    let data = data.display();
    format!(
        "process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={data}
num.partitions=12
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A killed broker's session would live on for 9 s, and keep its successor waiting.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=250
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.heartbeat.interval.ms=500
"
    )
}
