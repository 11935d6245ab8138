//! Contract, section 3: socket activation and `sd_notify`, without a service manager.

use std::{
    io::ErrorKind,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{Command, Stdio},
};

use crate::{
    admin,
    client::End,
    harness::{Bridge, Database, NO_POSTGRES, PATIENCE, crowd, wait_until, wrapped},
    program::alle_with,
    raw::{Raw, upgrade_request},
};

/// The part of systemd: the socket is descriptor 3, and its purpose is named.
pub const ACTIVATE: &str =
    "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
/// The same with two of them, and the names of both.
const ACTIVATE_TWO: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
    export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES={}; exec \"$0\" \"$@\"";

/// A bridge that is passed `listener`.
pub fn activated(listener: &TcpListener, script: &str, arguments: &[&str]) -> Bridge {
    let mut command = wrapped(script, arguments);
    command.stdin(passed(listener)).stdout(Stdio::null());
    Bridge::run_as_it_is(command)
}

pub fn passed(listener: &TcpListener) -> Stdio {
    Stdio::from(OwnedFd::from(listener.try_clone().unwrap()))
}

/// The service manager's socket, and the name of it.
pub fn service_manager(name: &str) -> (UnixDatagram, String) {
    let name = format!("alle-test-{}-{name}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, format!("@{name}"))
}

pub fn told(service_manager: &UnixDatagram) -> String {
    let mut buffer = [0; 100];
    let bytes = loop {
        match service_manager.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result.unwrap(),
        }
    };
    String::from_utf8(buffer[..bytes].to_vec()).unwrap()
}

/// One bridge stops, and the next one is started only when the first is gone: a thousand clients
/// that come back meanwhile wait in the socket, and none of them is refused.
#[test]
fn a_restart_under_socket_activation_refuses_nobody() {
    let database = Database::create();
    let url = database.url();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = ["serve", "-w", "127.0.0.1:1", "-p", &url];
    let mut first = activated(&listener, ACTIVATE, &arguments);
    assert_eq!(
        first.address,
        listener.local_addr().unwrap(),
        "-w is not used"
    );
    first.wait_until_ready();
    let address = first.address;
    let clients = crowd(CLIENTS, || Raw::upgraded(address));
    first.signal("TERM");
    let mut again = Vec::new();
    for mut client in clients {
        assert_eq!(client.close_code(), 1001);
        let mut raw = Raw::open(address);
        raw.write(upgrade_request(address, "/ws", "").as_bytes());
        again.push(raw);
    }
    assert_eq!(first.wait_for_exit().0, Some(0));
    let second = activated(&listener, ACTIVATE, &arguments);
    for client in &mut again {
        let response = client.response("GET");
        assert_eq!(response.status, 101, "{response:?}");
    }
    second.wait_until_ready();
    let mut client = second.client();
    client.subscribe("c");
    database.sql().notify("c", "heard");
    assert_eq!(client.payload(), "heard");
}

/// During a drain, new connections wait for the successor instead of being refused.
#[test]
fn a_drain_under_socket_activation_leaves_newcomers_to_the_successor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = [
        "serve",
        "-p",
        NO_POSTGRES,
        "--admin-addr",
        "127.0.0.1:0",
        "--drain",
        "10",
    ];
    let mut first = activated(&listener, ACTIVATE, &arguments);
    let admin = first.admin_address();
    let mut client = first.client();
    first.signal("TERM");
    wait_until("it drains", || {
        admin::get(admin, "/readyz").body.contains("shutting down")
    });
    let mut newcomer = Raw::open(first.address);
    newcomer.write(upgrade_request(first.address, "/ws", "").as_bytes());
    assert!(matches!(client.end(), End::Closed(1001, _)));
    drop(client);
    assert_eq!(first.wait_for_exit().0, Some(0));
    let _second = activated(&listener, ACTIVATE, &arguments);
    assert_eq!(newcomer.response("GET").status, 101);
}

/// The command that starts a bridge with both sockets, under the names of `LISTEN_FDNAMES`.
fn passed_two(sockets: [&TcpListener; 2], names: &str) -> Command {
    let script = ACTIVATE_TWO.replace("{}", names);
    let mut command = wrapped(&script, &["serve", "-p", NO_POSTGRES]);
    command.stdin(passed(sockets[0])).stdout(passed(sockets[1]));
    command
}

#[test]
fn the_socket_named_admin_is_the_admin_address_wherever_it_stands() {
    let [clients, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    for (sockets, names) in [
        ([&clients, &admin], "alle.socket:admin"),
        ([&admin, &clients], "admin:clients"),
    ] {
        let bridge = Bridge::run_as_it_is(passed_two(sockets, names));
        assert_eq!(bridge.address, clients.local_addr().unwrap(), "{names}");
        assert_eq!(bridge.get("/healthz").status, 404, "{names}");
        let answer = admin::get(admin.local_addr().unwrap(), "/healthz");
        assert_eq!(answer.status, 200, "{names}");
    }
}

/// The admin address would be open to all clients, or the other way round.
#[test]
fn two_sockets_that_are_for_the_same_are_refused() {
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    for (names, words) in [
        ("alle.socket:alle.socket", "2 sockets are for clients"),
        ("", "2 sockets are for clients"),
        ("admin:admin", "2 sockets are named admin"),
    ] {
        let mut bridge = Bridge::spawn(passed_two(sockets.each_ref(), names));
        assert_eq!(bridge.wait_for_exit().0, Some(1), "{names}");
        let line = bridge.wait_for_log(words);
        assert!(line.contains("FileDescriptorName=admin"), "{names}: {line}");
    }
}

#[test]
fn the_service_manager_is_told_of_the_beginning_and_the_end() {
    let (manager, name) = service_manager("states");
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES]);
    command.env("NOTIFY_SOCKET", name);
    let mut bridge = Bridge::run(command);
    assert_eq!(told(&manager), "READY=1");
    bridge.signal("TERM");
    assert_eq!(told(&manager), "STOPPING=1");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
}

#[test]
fn a_service_manager_that_is_gone_stops_nothing() {
    let mut command = alle_with(&["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES]);
    command.env("NOTIFY_SOCKET", "/nowhere/at/all");
    let mut bridge = Bridge::run(command);
    bridge.wait_for_log("cannot tell the service manager READY=1");
    assert_eq!(bridge.get("/healthz").status, 200);
    bridge.signal("TERM");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
}

#[test]
fn sockets_for_another_process_are_not_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = ["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES];
    for (pid, words) in [
        ("LISTEN_PID=1", "LISTEN_PID is 1, not "),
        ("LISTEN_PID=", "LISTEN_PID is not set"),
        ("", "LISTEN_PID is not set"),
    ] {
        let script = ACTIVATE.replace("LISTEN_PID=$$", pid);
        let bridge = activated(&listener, &script, &arguments);
        assert_ne!(bridge.address, listener.local_addr().unwrap(), "{pid}");
        let log = bridge.log();
        let said = log.lines().filter(|line| line.contains(words));
        assert_eq!(said.count(), 1, "{pid}: {log}");
    }
}

/// An operator meant to pass sockets, and would not know why none is used.
#[test]
fn a_malformed_number_of_sockets_is_logged_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = ["serve", "-w", "127.0.0.1:0", "-p", NO_POSTGRES];
    for (count, is_said) in [
        ("abc", true),
        ("-1", true),
        ("9999999999", true),
        ("0", false),
    ] {
        let script = ACTIVATE.replace("LISTEN_FDS=1", &format!("LISTEN_FDS={count}"));
        let bridge = activated(&listener, &script, &arguments);
        assert_ne!(bridge.address, listener.local_addr().unwrap(), "{count}");
        let log = bridge.log();
        let words = format!("no socket is taken: LISTEN_FDS is '{count}'");
        let said = log.lines().filter(|line| line.contains(&words));
        assert_eq!(said.count(), usize::from(is_said), "{count}: {log}");
    }
}

#[test]
fn a_passed_file_that_is_no_tcp_socket_is_a_failure_in_words() {
    let mut command = wrapped(ACTIVATE, &["serve", "-p", NO_POSTGRES]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut bridge = Bridge::spawn(command);
    assert_eq!(bridge.wait_for_exit().0, Some(1));
    bridge.wait_for_log("socket passed by the service manager");
}

const CLIENTS: usize = 1_000;
