use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::program::{find, run};
use crate::{Authority, Server};

/// An Apache Kafka of one node, broker and controller (KRaft), tuned to come back quickly. It makes
/// no topic by itself.
#[derive(Debug)]
pub struct Kafka {
    server: Server,
    /// Where it talks to itself.
    _controller: Port,
    /// One for each proxy before it.
    doors: Vec<Port>,
    /// If it encrypts: for those who show a certificate if they have to, and for those who log in.
    encrypted: Option<[Port; 2]>,
}

/// The shortest session that it grants to the members of a group, unless it is told otherwise.
const SESSION_MIN_MS: u32 = 1_000;

/// Asks it to end.
const ENDING: Signal = Signal::TERM;

/// Small, and quick to start.
const JVM: [&str; 5] = [
    "-Xmx384m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

impl Kafka {
    /// Starts one.
    pub fn start() -> Self {
        let mut kafka = Self::reserve();
        kafka.start_now();
        kafka
    }

    /// Starts one that grants no shorter sessions to the members of a group than 6 s, as brokers do by
    /// default.
    pub fn with_long_sessions() -> Self {
        let home = Home::fresh("kafka", ENDING);
        let mut kafka = Self::new(home, [Port::free(), Port::free()], Vec::new(), 6_000, "");
        kafka.start_now();
        kafka
    }

    /// Starts one that also encrypts, on two further ports: on that of
    /// [`encrypted_brokers`](Self::encrypted_brokers), if `known_only`, clients have to show a
    /// certificate; on that of [`login_brokers`](Self::login_brokers) they log in by SASL (PLAIN or
    /// SCRAM-SHA-256) as `shop` with the password [`PASSWORD`](Self::PASSWORD). Its certificate is for
    /// `localhost` only.
    pub fn with_tls(authority: &Authority, known_only: bool) -> Self {
        let ports = [Port::free(), Port::free()];
        let [ssl, sasl] = [ports[0].number(), ports[1].number()];
        let [root, certificate, key] = authority.certify(&["DNS:localhost"]).files();
        let home = Home::fresh("kafka", ENDING);
        let both = home.folder().join("server.pem");
        let read = |file: &str| fs::read_to_string(file).expect("it was made");
        fs::write(&both, read(&key) + &read(&certificate)).expect("a file");
        let (both, password) = (both.display(), Self::PASSWORD);
        let wants = if known_only { "required" } else { "none" };
        let module = "org.apache.kafka.common.security";
        let further = format!(
            "listeners=,SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl}
advertised.listeners=,SSL://localhost:{ssl},SASL_SSL://localhost:{sasl}
listener.security.protocol.map=,SSL:SSL,SASL_SSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={both}
ssl.truststore.type=PEM
ssl.truststore.location={root}
listener.name.ssl.ssl.client.auth={wants}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_ssl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_shop=\"{password}\";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
"
        );
        let mut kafka = Self::new(
            home,
            [Port::free(), Port::free()],
            Vec::new(),
            SESSION_MIN_MS,
            &further,
        );
        kafka.encrypted = Some(ports);
        kafka.start_now();
        kafka
    }

    /// The password of `shop`.
    pub const PASSWORD: &str = "open-sesame";

    /// `localhost:PORT`, where it encrypts.
    ///
    /// # Panics
    /// If it does not.
    pub fn encrypted_brokers(&self) -> String {
        let [port, _] = self.encrypted.as_ref().expect("it encrypts");
        format!("localhost:{}", port.number())
    }

    /// `localhost:PORT`, where it encrypts and clients have to log in.
    ///
    /// # Panics
    /// If it does not.
    pub fn login_brokers(&self) -> String {
        let [_, port] = self.encrypted.as_ref().expect("it encrypts");
        format!("localhost:{}", port.number())
    }

    /// One that has its port and is not running yet; [`start_now`](Server::start_now) starts it.
    pub fn reserve() -> Self {
        let home = Home::fresh("kafka", ENDING);
        Self::new(
            home,
            [Port::free(), Port::free()],
            Vec::new(),
            SESSION_MIN_MS,
            "",
        )
    }

    /// One that is not running yet and that clients reach through proxies: whoever comes through one
    /// of them is told to come there again. `proxies` are their ports on 127.0.0.1;
    /// [`doors`](Self::doors) tells where they have to lead.
    pub fn behind(proxies: &[u16]) -> Self {
        let home = Home::fresh("kafka", ENDING);
        let doors = proxies.iter().map(|proxy| (Port::free(), *proxy));
        let ports = [Port::free(), Port::free()];
        Self::new(home, ports, doors.collect(), SESSION_MIN_MS, "")
    }

    /// One for a developer, not running yet: on the first free port from `port` on, with data that
    /// stay in the folder.
    pub fn at(folder: &Path, port: u16) -> Self {
        let port = Port::free_from(port);
        let controller = Port::free_from(port.number() + 1);
        let home = Home::lasting(folder, ENDING);
        Self::new(home, [port, controller], Vec::new(), SESSION_MIN_MS, "")
    }

    fn new(
        home: Home,
        [port, controller]: [Port; 2],
        doors: Vec<(Port, u16)>,
        session_min_ms: u32,
        further: &str,
    ) -> Self {
        let properties = home.folder().join("server.properties");
        let ways = doors.iter().map(|(port, proxy)| (port.number(), *proxy));
        let ways: Vec<_> = [(port.number(), port.number())]
            .into_iter()
            .chain(ways)
            .collect();
        let settings = settings(home.folder(), &ways, controller.number(), session_min_ms);
        fs::write(&properties, with_further(&settings, further)).expect("a file");
        let properties = properties.display().to_string();
        let meta = home.folder().join("data/meta.properties");
        if !meta.exists() {
            let id = fresh_id();
            let user = format!("SCRAM-SHA-256=[name=shop,password={}]", Self::PASSWORD);
            let format = [
                "kafka.tools.StorageTool",
                "format",
                "--standalone",
                "-t",
                &id,
                "-c",
                &properties,
                "--add-scram",
                &user,
            ];
            run(&find("java"), java(&format));
        }
        let id = cluster_id(&meta);
        let mut command = vec![find("java").display().to_string()];
        command.extend(java(&["kafka.Kafka", &properties]));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let ready = move || serves(address, &id).unwrap_or(false);
        Self {
            server: Server::new("Kafka", (home, port), command, ready),
            _controller: controller,
            doors: doors.into_iter().map(|(port, _)| port).collect(),
            encrypted: None,
        }
    }

    /// The ports to which the proxies before it have to lead, in their order.
    pub fn doors(&self) -> Vec<u16> {
        self.doors.iter().map(Port::number).collect()
    }

    /// `127.0.0.1:PORT`
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

impl Deref for Kafka {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// Asks for the brokers of the cluster. They are told only when the broker serves, and with the id
/// of the cluster: some other program's Kafka has another one.
fn serves(address: SocketAddr, id: &str) -> io::Result<bool> {
    /// Metadata, version 4: no correlation, no client id, no topics, and none to be made.
    const REQUEST: [u8; 19] = [0, 0, 0, 15, 0, 3, 0, 4, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 0];
    /// After the correlation and the throttle time.
    const BROKERS: std::ops::Range<usize> = 8..12;
    let second = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, second)?;
    stream.set_read_timeout(Some(second))?;
    stream.write_all(&REQUEST)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream
        .take(u32::from_be_bytes(length).into())
        .read_to_end(&mut answer)?;
    let has_brokers = answer.get(BROKERS).is_some_and(|count| count != [0; 4]);
    Ok(has_brokers && answer.windows(id.len()).any(|part| part == id.as_bytes()))
}

/// A new id for a cluster: 22 letters, the last of which says less than the others.
fn fresh_id() -> String {
    let mut random = [0; 21];
    let source = fs::File::open("/dev/urandom");
    let read = source.and_then(|mut source| source.read_exact(&mut random));
    read.expect("a random number");
    let letters = random.map(|byte| char::from(b'a' + byte % 26));
    letters.into_iter().chain(['A']).collect()
}

fn cluster_id(meta: &Path) -> String {
    let meta = fs::read_to_string(meta).expect("Kafka has written it");
    let id = meta
        .lines()
        .find_map(|line| line.strip_prefix("cluster.id="));
    id.expect("it has an id").to_owned()
}

/// The arguments of `java` for a program of Kafka.
fn java(arguments: &[&str]) -> Vec<String> {
    let libraries = match std::env::var_os("FLASHSALE_KAFKA_LIB") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.services/kafka/lib"),
    };
    let there = libraries.is_dir();
    assert!(there, "Kafka is missing; run `dev/services install`");
    let mut all = JVM.map(str::to_owned).to_vec();
    all.extend(["-cp".to_owned(), format!("{}/*", libraries.display())]);
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    all
}

/// `ways` are the ports on which it listens, each with the one that is told to clients who come to it.
fn settings(folder: &Path, ways: &[(u16, u16)], controller: u16, session_min_ms: u32) -> String {
    let data = folder.join("data");
    let data = data.display();
    let list = |part: &dyn Fn(usize, u16, u16) -> String| {
        let parts = ways.iter().enumerate();
        let parts: Vec<_> = parts
            .map(|(way, (port, told))| part(way, *port, *told))
            .collect();
        parts.join(",")
    };
    let listeners = list(&|way, port, _| format!("WAY{way}://127.0.0.1:{port}"));
    let told = list(&|way, _, told| format!("WAY{way}://127.0.0.1:{told}"));
    let protocols = list(&|way, _, _| format!("WAY{way}:PLAINTEXT"));
    format!(
        "process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={told}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=WAY0
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
# So that what a killed worker had does not wait for 6 s.
group.min.session.timeout.ms={session_min_ms}
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.heartbeat.interval.ms=500
"
    )
}

/// Settings and further ones; a value that begins with a comma continues the one that is there.
fn with_further(settings: &str, further: &str) -> String {
    let mut lines: Vec<_> = settings.lines().map(str::to_owned).collect();
    for line in further.lines() {
        let (name, value) = line.split_once('=').expect("it is a setting");
        let begins = format!("{name}=");
        match lines.iter_mut().find(|line| line.starts_with(&begins)) {
            Some(there) if value.starts_with(',') => there.push_str(value),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}
