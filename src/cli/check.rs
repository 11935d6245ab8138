//! `alle check`: what is wrong with a configuration, what it opens to strangers, and what it closes to
//! operators.
//!
//! Owns the sentences on both. Starts nothing, and leaves PostgreSQL to `alle doctor`, but for the
//! function that says whose a token is.

#![expect(
    clippy::disallowed_methods,
    reason = "a command that does nothing else may wait for the addresses of a name"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use alle::{
    Bridge, BridgeConfig, ClientAuth, Globs,
    doctor::{self, Finding, Verdict},
    internals::access::jwt::Jwt,
};

use super::{args::CheckOptions, command::CommandName, failure::Failure, output::Output, serve};

/// Prints every fault and what is open or closed; fails if there is a fault, or if there is nobody
/// who says whose a token is.
pub(crate) fn run(options: CheckOptions, output: &mut Output) -> Result<(), Failure> {
    let CheckOptions {
        config,
        mut faults,
        offline,
    } = options;
    let exposures = exposures(&config);
    let closed = closed(&config);
    let of_library = Bridge::new((*config).clone()).check();
    faults.extend(of_library.iter().map(ToString::to_string));
    for fault in &faults {
        output.line(&format!("wrong: {fault}"));
    }
    for exposure in &exposures {
        output.line(&format!("open: {exposure}"));
    }
    if let Some(closed) = closed {
        output.line(&format!("closed: {closed}"));
    }
    if !faults.is_empty() {
        let count = faults.len();
        return Err(Failure::usage(
            CommandName::Check,
            format!("{count} of the settings cannot work"),
        ));
    }
    if !offline {
        ask_for_function(&config, output)?;
    }
    output.line("'alle serve' can start with this configuration.");
    Ok(())
}

/// Asks PostgreSQL whether the function of `--auth-function` can be called, if there is one. It may be
/// away now and there when the bridge starts: that is no fault.
fn ask_for_function(config: &BridgeConfig, output: &mut Output) -> Result<(), Failure> {
    let Some(function) = &config.auth_function else {
        return Ok(());
    };
    let findings =
        doctor::examine(config).map_err(|error| serve::failure(&error, CommandName::Check))?;
    let of = |subject| findings.iter().find(|finding| finding.subject == subject);
    match (of("token function"), of("authorizing session")) {
        (Some(Finding { verdict, text, .. }), _) if *verdict != Verdict::Bad => {
            output.line(&format!("asked: {text}"));
            Ok(())
        }
        (Some(finding), _) => {
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            output.line(&format!("wrong: {}; {remedy}", finding.text));
            Err(Failure::Run(format!(
                "nobody gets in by a token: the function {function} cannot be called"
            )))
        }
        (None, session) => {
            let why = session.map_or("", |finding| &finding.text);
            output.line(&format!(
                "unknown: whether the function {function} can be called: {why}"
            ));
            Ok(())
        }
    }
}

/// What the configuration lets strangers do, a sentence each, and how to take it back.
fn exposures(config: &BridgeConfig) -> Vec<String> {
    let mut exposures = Vec::new();
    let address = &config.ws_bind_addr;
    let is_public = is_public(address);
    let has_function = config.auth_function.is_some();
    let has_certificates = config.tls.client_ca.is_some();
    let is_anybody =
        config.token_file.is_none() && !config.jwt.has_keys() && !has_function && !has_certificates;
    if is_public && is_anybody {
        exposures.push(format!(
            "whoever reaches {address} may {}, without a token (--token-file)",
            permissions(config)
        ));
    }
    if is_anybody && config.allow_origins.iter().any(|it| it == "*") {
        exposures.push(format!(
            "any web page, in the browser of anybody who can reach {address}, may {} \
             (--allow-origin, --token-file)",
            permissions(config)
        ));
    }
    exposures.extend(of_bearers(config));
    if let (Some(group), None) = (&config.group, &config.group_key_file) {
        exposures.push(format!(
            "whoever may connect to the database as the bridge's role can make clients of the \
             group {group:?} lose notifications that nobody misses (--group-key-file)"
        ));
    }
    let networks = &config.proxies.networks;
    if let Some(network) = networks.iter().find(|it| it.is_everybody()) {
        exposures.push(format!(
            "whoever reaches {address} may say that it is at another address: {network} is \
             everybody (--trusted-proxy)"
        ));
    }
    if is_public {
        if !config.tls.is_on() {
            exposures.push(format!(
                "{address} speaks ws:// in clear text: tokens and payloads can be read on the way, \
                 unless a proxy with TLS stands in front (--tls-cert)"
            ));
        }
        if config.admin_addr.is_none() {
            exposures.push(format!(
                "/metrics and /readyz are answered to whoever reaches {address} (--admin-addr)"
            ));
        }
        if config.playground {
            exposures.push(format!(
                "the playground page is shown to whoever reaches {address} (--playground)"
            ));
        }
    }
    if let Some(admin) = config.admin_addr.as_ref().filter(|it| self::is_public(it)) {
        exposures.push(format!(
            "/metrics and /readyz are answered to whoever reaches {admin} (--admin-addr)"
        ));
    }
    exposures
}

/// Why whoever looks after the bridge gets no answer, where that is so.
fn closed(config: &BridgeConfig) -> Option<String> {
    if config.admin_addr.is_some() {
        return None;
    }
    let address = &config.ws_bind_addr;
    let proxies = &config.proxies;
    let is_trusted = |ip: IpAddr| proxies.hold(ip);
    let from_here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if proxies.proxy_protocol && !from_here.into_iter().any(is_trusted) {
        return Some(format!(
            "{address} hears trusted proxies alone: 'alle health' on this machine gets no answer \
             (--admin-addr, or --trusted-proxy 127.0.0.1)"
        ));
    }
    let is_required = config.tls.client_auth == ClientAuth::Require;
    (config.tls.client_ca.is_some() && is_required).then(|| {
        format!(
            "{address} answers nobody without a certificate of --tls-client-ca: not 'alle health', and \
             not the health checks of a proxy that has none (--admin-addr)"
        )
    })
}

/// What every valid JWT lets its bearer do, where neither a claim nor a pattern narrows it.
fn of_bearers(config: &BridgeConfig) -> Vec<String> {
    if !config.jwt.has_keys() {
        return Vec::new();
    }
    let rules = &config.jwt.rules;
    let (subscribes, publishes) = Jwt::is_unbounded(rules, &config.permissions);
    let open = [(subscribes, "subscribe"), (publishes, "publish")];
    let open = open.into_iter().filter(|(is_open, _)| *is_open);
    let mut exposures: Vec<_> = open
        .map(|(_, verb)| {
            format!(
                "whoever has a valid JWT may {verb} to every channel (--jwt-{verb}-claim, \
                 --allow-{verb})"
            )
        })
        .collect();
    if rules.allow_no_exp {
        exposures
            .push("a JWT without exp lets its bearer in for ever (--jwt-allow-no-exp)".to_owned());
    }
    exposures
}

/// What a client without a token of its own may do.
fn permissions(config: &BridgeConfig) -> String {
    let (all, none) = (Globs::default(), Globs::parse(""));
    let of = |verb: &str, globs: &Globs, option: &str| {
        (*globs != none).then(|| match *globs == all {
            true => format!("{verb} every channel"),
            false => format!("{verb} the channels of {option}"),
        })
    };
    let permissions = &config.permissions;
    let subscribe = of("subscribe to", &permissions.subscribe, "--allow-subscribe");
    let publish = of("publish to", &permissions.publish, "--allow-publish");
    match (subscribe, publish) {
        (Some(subscribe), Some(publish)) => format!("{subscribe} and {publish}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "connect".to_owned(),
    }
}

/// Whether other machines reach an address. One that is no address is a fault, and no exposure.
fn is_public(address: &str) -> bool {
    let resolved = address.to_socket_addrs().ok().and_then(|mut it| it.next());
    resolved.is_some_and(|address| match address.ip() {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut BridgeConfig), address: &str) -> String {
        let mut config = BridgeConfig::new("", address);
        change(&mut config);
        exposures(&config).join("\n")
    }

    #[test]
    fn a_bridge_on_the_loopback_is_open_to_nobody() {
        assert_eq!(found(|_| {}, "127.0.0.1:8080"), "");
        assert_eq!(found(|_| {}, "[::1]:8080"), "");
        assert_eq!(found(|it| it.playground = true, "127.0.0.1:0"), "");
        assert_eq!(found(|_| {}, "no address"), "");
    }

    #[test]
    fn a_bridge_on_every_address_says_what_strangers_may_do() {
        let address = "0.0.0.0:8080";
        let open = found(|_| {}, address);
        for expected in [
            "may subscribe to every channel and publish to every channel, without a token",
            "clear text",
            "/metrics",
        ] {
            assert!(open.contains(expected), "{expected:?} is not in {open}");
        }
        let reading = found(|it| it.permissions.publish = Globs::parse(""), address);
        assert!(reading.contains("may subscribe to every channel, without"));
        let some = found(|it| it.permissions.subscribe = Globs::parse("a.*"), address);
        assert!(some.contains("subscribe to the channels of --allow-subscribe and publish"));
        let with_token = found(|it| it.token_file = Some("t".into()), address);
        assert!(!with_token.contains("without a token"), "{with_token}");
        let apart = found(|it| it.admin_addr = Some("127.0.0.1:1".to_owned()), address);
        assert!(!apart.contains("/metrics"), "{apart}");
        let admin = found(|it| it.admin_addr = Some(address.to_owned()), "127.0.0.1:1");
        assert!(admin.contains("/metrics and /readyz"), "{admin}");
    }

    #[test]
    fn what_every_jwt_lets_its_bearer_do_is_open() {
        let with_key = |change: fn(&mut BridgeConfig)| {
            found(
                |it| {
                    it.jwt.key_file = Some("k".into());
                    change(it);
                },
                "127.0.0.1:1",
            )
        };
        let open = with_key(|_| {});
        assert!(!open.contains("without a token"), "{open}");
        assert!(open.contains("JWT may subscribe to every channel (--jwt-subscribe-claim"));
        assert!(open.contains("JWT may publish to every channel"), "{open}");
        let narrowed = with_key(|it| {
            it.jwt.rules.subscribe_claim = Some("can".to_owned());
            it.permissions.publish = Globs::parse("user.{sub}.*");
        });
        assert_eq!(narrowed, "");
        let endless = with_key(|it| {
            it.permissions.subscribe = Globs::parse("a");
            it.permissions.publish = Globs::parse("");
            it.jwt.rules.allow_no_exp = true;
        });
        assert!(endless.starts_with("a JWT without exp"), "{endless}");
    }

    #[test]
    fn a_trusted_proxy_that_is_everybody_is_open() {
        let open = |network: &str| {
            let network = network.parse().unwrap();
            found(|it| it.proxies.networks = vec![network], "127.0.0.1:1")
        };
        assert!(open("::/0").ends_with("::/0 is everybody (--trusted-proxy)"));
        assert_eq!(open("10.0.0.0/8"), "");
    }

    #[test]
    fn a_bridge_that_no_operator_can_ask_says_so() {
        let closed = |change: fn(&mut BridgeConfig)| {
            let mut config = BridgeConfig::new("", "0.0.0.0:8080");
            config.proxies.networks = vec!["10.0.0.0/8".parse().unwrap()];
            change(&mut config);
            closed(&config).unwrap_or_default()
        };
        assert_eq!(closed(|_| {}), "");
        let text = closed(|it| it.proxies.proxy_protocol = true);
        assert!(text.contains("hears trusted proxies alone"), "{text}");
        let text = closed(|it| {
            it.proxies.proxy_protocol = true;
            it.proxies.networks.push("127.0.0.1".parse().unwrap());
        });
        assert_eq!(text, "");
        let text = closed(|it| it.tls.client_ca = Some("ca".into()));
        assert!(text.contains("without a certificate"), "{text}");
        let text = closed(|it| {
            it.tls.client_ca = Some("ca".into());
            it.tls.client_auth = ClientAuth::Allow;
        });
        assert_eq!(text, "");
        let text = closed(|it| {
            it.proxies.proxy_protocol = true;
            it.tls.client_ca = Some("ca".into());
            it.admin_addr = Some("127.0.0.1:1".to_owned());
        });
        assert_eq!(text, "");
    }

    #[test]
    fn every_web_page_is_a_stranger_on_the_loopback_too() {
        let open = found(|it| it.allow_origins = vec!["*".to_owned()], "127.0.0.1:1");
        assert!(open.starts_with("any web page"), "{open}");
    }
}
