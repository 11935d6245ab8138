//! A program built without its feature `tls`: it serves as usual, and names its limits.

use alle::internals::sandbox;

use super::{
    deserted::Deserted,
    program::{Program, alle, alle_with, run},
};

#[test]
fn a_server_is_heard_without_tls() {
    let url = sandbox::shared().url();
    let (code, stdout, stderr) = run(alle_with(&["doctor", "-p", &url]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

#[test]
fn a_server_that_must_have_tls_is_not_connected_to() {
    let nobody = Deserted::hold();
    let url = format!("postgresql://ann@{}/x?sslmode=require", nobody.address());
    let serve = ["serve", "-w", "127.0.0.1:0", "-p", &url];
    let program = Program::start(alle_with(&serve));
    while !program
        .stderr
        .next()
        .contains("this program was built without TLS")
    {}
}

#[test]
fn a_bridge_behind_tls_is_wrong_usage() {
    let (code, stdout, stderr) = run(alle("publish -w wss://localhost a b"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("built without TLS"), "{stderr}");
}

#[test]
fn tls_towards_clients_is_wrong_usage_and_named() {
    for option in ["--tls-cert", "--tls-key"] {
        let (code, _, stderr) = run(alle(&format!("serve -w 127.0.0.1:0 {option} x.pem")));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(
            stderr.contains("--tls-cert") && stderr.contains("built without TLS"),
            "{stderr}"
        );
    }
    let (code, _, stderr) = run(alle("demo -w 127.0.0.1:0 --tls"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("--tls: this program was built without TLS"),
        "{stderr}"
    );
}

#[test]
fn keys_for_jwts_are_wrong_usage_and_named() {
    for option in ["--jwt-key-file", "--jwt-jwks-file"] {
        let set = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
        let text = if option == "--jwt-key-file" {
            &"x".repeat(32)
        } else {
            set
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let serve = [
            "serve",
            "-w",
            "127.0.0.1:0",
            option,
            file.path().to_str().unwrap(),
        ];
        let (code, _, stderr) = run(alle_with(&serve));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(
            stderr.contains("built without TLS") && stderr.contains(option),
            "{stderr}"
        );
    }
}
