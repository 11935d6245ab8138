//! Proxies, each with its configuration from docs/proxies.md, word for word but for addresses.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{deserted::Deserted, harness::wait_until};

/// A proxy as a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Caddy,
}

/// A running proxy in front of bridges; ended when dropped, with all connections through it.
pub struct Proxy {
    pub address: SocketAddr,
    kind: Kind,
    port: Deserted,
    child: Option<Child>,
    directory: TempDir,
}

impl Kind {
    /// Its block in the docs.
    pub fn configuration(self) -> &'static str {
        self.blocks().next().unwrap()
    }

    /// All of its blocks there.
    pub fn blocks(self) -> impl Iterator<Item = &'static str> {
        let language = match self {
            Self::Nginx => "\n```nginx\n",
            Self::Haproxy => "\n```haproxy\n",
            Self::Apache => "\n```apache\n",
            Self::Caddy => "\n```caddy\n",
        };
        let docs = include_str!("../../../docs/proxies.md");
        let blocks = docs.split(language).skip(1);
        blocks.map(|from| from.split_once("```").unwrap().0)
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache2",
            Self::Caddy => "caddy",
        }
    }

    /// What a distribution's own files say around the configuration of the docs.
    fn around(self, configuration: &str, directory: &Path) -> String {
        let directory = directory.display();
        match self {
            Self::Nginx => format!(
                "{}daemon off;\npid {directory}/pid;\nerror_log {directory}/errors;\n\
                 events {{ worker_connections 2048; }}\n\
                 http {{\naccess_log off;\n{configuration}\n}}\n",
                if geteuid().is_root() {
                    "user root;\n"
                } else {
                    ""
                },
            ),
            Self::Haproxy => {
                configuration.replace("/run/haproxy/admin.sock", &format!("{directory}/socket"))
            }
            Self::Apache => {
                let modules = [
                    "mpm_event",
                    "authz_core",
                    "slotmem_shm",
                    "proxy",
                    "proxy_http",
                    "proxy_balancer",
                    // Its default, which has to be there.
                    "lbmethod_byrequests",
                    "lbmethod_bybusyness",
                ];
                let load = |name| {
                    format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                };
                let user = match geteuid().is_root() {
                    true => "User www-data\nGroup www-data\n",
                    false => "",
                };
                format!(
                    "ServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/pid\n\
                     ErrorLog {directory}/errors\nServerName localhost\n{user}{}{configuration}",
                    modules.map(load).concat()
                )
            }
            Self::Caddy => {
                format!("{{\nadmin unix/{directory}/socket\nauto_https off\n}}\n{configuration}")
            }
        }
    }
}

impl Proxy {
    /// In front of bridges, each with the address for clients and the one of its health; with a
    /// configuration like that of the docs.
    pub fn start(
        kind: Kind,
        configuration: &str,
        [one, two]: [(SocketAddr, SocketAddr); 2],
    ) -> Self {
        let port = Deserted::hold();
        let address = port.address();
        let directory = tempfile::tempdir().unwrap();
        let mut text = configuration.to_owned();
        let mut put = |from: &str, to: &str| {
            text = text.replace(from, to);
        };
        for (number, (bridge, health)) in [(0, one), (1, two)] {
            put(&format!("127.0.0.1:808{number}"), &bridge.to_string());
            put(&format!("908{number}"), &health.port().to_string());
        }
        let listens = format!("127.0.0.1:{}", address.port());
        match kind {
            Kind::Nginx => {
                put("listen 80;", &format!("listen {listens};"));
                put("listen 443 ", &format!("listen {listens} "));
                let site = directory.path().join("site");
                put("/etc/ssl/app.example.com", &site.display().to_string());
                let names = vec!["app.example.com".to_owned()];
                let identity = rcgen::generate_simple_self_signed(names).unwrap();
                fs::write(site.with_extension("pem"), identity.cert.pem()).unwrap();
                let key = identity.signing_key.serialize_pem();
                fs::write(site.with_extension("key"), key).unwrap();
            }
            Kind::Haproxy => put("bind :80\n", &format!("bind {listens}\n")),
            Kind::Apache => {
                put("*:80", "*");
                text = format!("Listen {listens}\n{text}");
            }
            Kind::Caddy => {
                put("10.0.0.1:8080", &one.0.to_string());
                put("10.0.0.2:8080", &two.0.to_string());
                let site = format!(
                    "http://app.example.com:{} {{\nbind 127.0.0.1",
                    address.port()
                );
                put("http://app.example.com {", &site);
            }
        }
        assert!(text.contains(&address.port().to_string()), "{text}");
        let path = directory.path().join("configuration");
        fs::write(&path, kind.around(&text, directory.path())).unwrap();
        let mut proxy = Self {
            address,
            kind,
            port,
            child: None,
            directory,
        };
        proxy.start_again();
        proxy
    }

    fn command(&self, verb: &str) -> Command {
        let path = self.directory.path().join("configuration");
        let mut command = Command::new(self.kind.program());
        // Debian has servers where only root's PATH leads to.
        let programs = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{programs}:/usr/sbin"));
        match self.kind {
            Kind::Nginx => {
                command
                    .args(["-e", "stderr", "-p"])
                    .arg(self.directory.path());
                command.arg("-c").arg(path);
            }
            Kind::Haproxy => {
                command.args(["-db", "-f"]).arg(path);
            }
            Kind::Apache => {
                command.args(["-DFOREGROUND", "-f"]).arg(path);
            }
            Kind::Caddy => {
                command
                    .args([verb, "--adapter", "caddyfile", "--config"])
                    .arg(path);
                let home = self.directory.path();
                command
                    .env("HOME", home)
                    .env("XDG_DATA_HOME", home)
                    .env("XDG_CONFIG_HOME", home);
                if verb == "reload" {
                    let socket = format!("unix/{}/socket", home.display());
                    command.args(["--force", "--address", &socket]);
                }
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the proxy that was ended.
    pub fn start_again(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = self.command("run");
        command.stderr(log);
        self.child = Some(self.port.lend(|address| {
            let name = self.kind.program();
            let child = command.spawn();
            let mut child = child.unwrap_or_else(|error| panic!("{name}: {error}: make proxies"));
            wait_until("the proxy listens", || {
                let is_over = child.try_wait().unwrap().is_some();
                assert!(!is_over, "{name} does not start");
                TcpStream::connect(address).is_ok()
            });
            child
        }));
    }

    /// Ends it with every connection through it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The workers first: the master would start others.
            let master = child.id();
            signal("STOP", master);
            for worker in children(master) {
                signal("KILL", worker);
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        wait_until("the proxy is gone", || {
            TcpStream::connect(self.address).is_err()
        });
    }

    /// Makes it read its configuration again, and waits until it has.
    pub fn reload(&self) {
        let master = self.child.as_ref().unwrap().id();
        let name = match self.kind {
            Kind::Nginx => "HUP",
            Kind::Haproxy => "USR2",
            Kind::Apache => "USR1",
            Kind::Caddy => {
                let mut reload = self.command("reload");
                let status = reload.stderr(Stdio::null()).status().unwrap();
                assert!(status.success());
                return;
            }
        };
        let before = children(master);
        signal(name, master);
        wait_until("there is another worker", || {
            children(master).iter().any(|it| !before.contains(it))
        });
    }

    /// What it said on stderr.
    pub fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        read("log") + &read("errors")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            let _ = writeln!(std::io::stderr(), "{}", last.join("\n"));
        }
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn signal(name: &str, process: u32) {
    let _gone = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
}

/// The children of a process (proc(5)).
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|it| it.parse().unwrap())
        .collect()
}

const LINES_SHOWN: usize = 20;
