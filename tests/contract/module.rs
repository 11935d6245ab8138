//! `/alle.js`, the module for pages: for every page, where a page is shown at all.

use crate::{
    harness::{Bridge, NO_POSTGRES},
    raw::{Raw, Response},
};

const MODULE: &str = include_str!("../../clients/js/alle.js");

fn shown() -> Bridge {
    Bridge::serve(NO_POSTGRES, &["--playground"])
}

#[track_caller]
fn assert_public(response: &Response) {
    for (name, value) in [
        ("Access-Control-Allow-Origin", "*"),
        ("Cross-Origin-Resource-Policy", "cross-origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache"),
    ] {
        assert_eq!(response.header(name), Some(value), "{response:?}");
    }
}

#[test]
fn the_module_is_there_where_the_page_is() {
    let response = shown().get("/alle.js");
    assert_eq!((response.status, response.body.as_str()), (200, MODULE));
    let content_type = Some("text/javascript; charset=utf-8");
    assert_eq!(response.header("Content-Type"), content_type);
    assert_public(&response);
    let without = Bridge::serve(NO_POSTGRES, &[]);
    assert_eq!(without.get("/alle.js").status, 404);
}

#[test]
fn a_browser_that_has_it_is_told_so() {
    let bridge = shown();
    let tag = bridge.get("/alle.js").header("ETag").unwrap().to_owned();
    for (tags, status) in [
        (tag.as_str(), 304),
        (&format!("W/{tag}"), 304),
        (&format!("\"other\", {tag}"), 304),
        ("*", 304),
        ("\"other\"", 200),
        (tag.trim_matches('"'), 200),
    ] {
        let asked = format!("If-None-Match: {tags}\r\n");
        let response = bridge.request("GET", "/alle.js", &asked);
        assert_eq!(response.status, status, "{tags}");
        assert_eq!(response.header("ETag"), Some(tag.as_str()));
        assert_eq!(response.body.is_empty(), status == 304, "{tags}");
        assert_public(&response);
    }
    let head = bridge.request("HEAD", "/alle.js", "");
    let length = MODULE.len().to_string();
    assert_eq!(head.header("Content-Length"), Some(length.as_str()));
}

/// It is public: no origin and no host is too foreign for it, and none of them comes in by it.
#[test]
fn any_page_may_load_it_and_none_connects_because_of_that() {
    let bridge = shown();
    let of = "Origin: https://evil.example\r\n";
    assert_eq!(bridge.request("GET", "/alle.js", of).status, 200);
    let mut raw = Raw::open(bridge.address);
    raw.write(b"GET /alle.js HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(raw.response("GET").status, 200);
    assert_eq!(bridge.request("GET", "/", of).status, 403);
    assert_eq!(bridge.request("POST", "/alle.js", "").status, 405);
}

#[test]
fn the_admin_address_has_no_module() {
    let arguments = ["--playground", "--admin-addr", "127.0.0.1:0"];
    let bridge = Bridge::serve(NO_POSTGRES, &arguments);
    let admin = bridge.admin_address();
    let mut raw = Raw::open(admin);
    raw.write(b"GET /alle.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(raw.response("GET").status, 404);
}
