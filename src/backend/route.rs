//! Which server is tried next, and whether with TLS.
//!
//! libpq's order: the servers in the order of the configuration, each as `sslmode` says, some once
//! more the other way (PostgreSQL, "Specifying Multiple Hosts", "SSL Mode Descriptions"). Knows no
//! time.

use crate::pg::config::{Config, Host, SslMode, TargetSessionAttrs};

/// One server, and how to connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The server, by its place in the configuration.
    pub server: usize,
    /// Whether TLS is asked for.
    pub encryption: Encryption,
    /// How many servers were tried before in this round.
    tried: usize,
    /// Any kind of server will do: this round has not found the preferred kind.
    accept_any: bool,
}

/// Whether the server is asked for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Not asked.
    None,
    /// Asked; without TLS on the server's side the session goes on in clear text.
    Offered,
    /// Asked; a server without TLS is left.
    Required,
}

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// No server answers, or it no longer does.
    Nobody,
    /// TLS failed.
    Tls,
    /// The server refused us before it was convinced of who we are.
    Refusal {
        /// Whether TLS carried the refusal.
        is_secure: bool,
        /// Whether the server refuses everybody for now.
        is_unavailable: bool,
    },
    /// The server lets us in, and is not of the wanted kind.
    Unsuitable,
    /// The server is the right one, and it does not work.
    End,
}

impl Route {
    /// The beginning of a round. `random` picks the first server where the configuration leaves it
    /// to chance.
    pub(super) fn first(config: &Config, random: u64) -> Self {
        let count = config.servers.len();
        let random = usize::try_from(random % count as u64).unwrap_or(0);
        let server = if config.shuffle_servers { random } else { 0 };
        Self {
            server,
            encryption: encryption(config, server),
            tried: 0,
            accept_any: false,
        }
    }

    /// The route to try after this one failed; `None` ends the round.
    pub(super) fn next(self, reached: Reached, config: &Config) -> Option<Self> {
        let again = |encryption| Some(Self { encryption, ..self });
        let is_unix = matches!(config.servers[self.server].host, Host::Unix(_));
        match (reached, config.tls.mode) {
            (Reached::Tls, SslMode::Prefer) if self.encryption == Encryption::Offered => {
                return again(Encryption::None);
            }
            (
                Reached::Refusal {
                    is_secure: true, ..
                },
                SslMode::Prefer,
            ) => return again(Encryption::None),
            (Reached::Refusal { .. }, SslMode::Allow)
                if self.encryption == Encryption::None && !is_unix =>
            {
                return again(Encryption::Offered);
            }
            (
                Reached::Refusal {
                    is_unavailable: false,
                    ..
                }
                | Reached::End,
                _,
            ) => return None,
            (Reached::Nobody | Reached::Tls | Reached::Refusal { .. } | Reached::Unsuitable, _) => {
            }
        }
        self.next_server(config)
    }

    /// Whether `next`, which follows this route, leads to the same server without the TLS that this
    /// one asks for.
    pub(super) fn gives_up_tls(self, next: Self) -> bool {
        let asks = self.encryption != Encryption::None;
        asks && next.encryption == Encryption::None && self.server == next.server
    }

    fn next_server(self, config: &Config) -> Option<Self> {
        let count = config.servers.len();
        let server = (self.server + 1) % count;
        let encryption = encryption(config, server);
        let any_will_do = config.target_session_attrs == TargetSessionAttrs::PreferStandby;
        if self.tried + 1 < count {
            Some(Self {
                server,
                encryption,
                tried: self.tried + 1,
                ..self
            })
        } else if any_will_do && !self.accept_any {
            Some(Self {
                server,
                encryption,
                tried: 0,
                accept_any: true,
            })
        } else {
            None
        }
    }

    /// The kind of server that will do on this route.
    pub(super) fn target(self, config: &Config) -> TargetSessionAttrs {
        if self.accept_any {
            TargetSessionAttrs::Any
        } else {
            config.target_session_attrs
        }
    }
}

fn encryption(config: &Config, server: usize) -> Encryption {
    match (config.tls.mode, &config.servers[server].host) {
        (_, Host::Unix(_)) | (SslMode::Disable | SslMode::Allow, Host::Tcp(_)) => Encryption::None,
        (SslMode::Prefer, Host::Tcp(_)) => Encryption::Offered,
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, Host::Tcp(_)) => {
            Encryption::Required
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Reached = Reached::Refusal {
        is_secure: false,
        is_unavailable: false,
    };
    const REFUSED_SECURE: Reached = Reached::Refusal {
        is_secure: true,
        is_unavailable: false,
    };
    const STARTING: Reached = Reached::Refusal {
        is_secure: false,
        is_unavailable: true,
    };

    /// The whole round: of each attempt the server, and `+` (TLS required), `?` (offered) or `-`.
    /// The attempts fail as `reached` says, further ones as its last element.
    fn round(parameters: &str, reached: &[Reached]) -> String {
        let url = format!("postgres://u@a,b/x?{parameters}");
        let config = Config::parse(&url, &|_| None).unwrap();
        let mut reached = reached.iter().copied();
        let mut last = Reached::Nobody;
        let mut route = Some(Route::first(&config, 7));
        let mut round = String::new();
        while let Some(at) = route {
            let encryption = match at.encryption {
                Encryption::None => '-',
                Encryption::Offered => '?',
                Encryption::Required => '+',
            };
            round += &format!("{}{encryption} ", at.server);
            last = reached.next().unwrap_or(last);
            route = at.next(last, &config);
            assert!(round.len() < 100, "a round ends");
        }
        round.trim_end().to_owned()
    }

    #[test]
    fn a_round_follows_the_order_of_libpq() {
        for (parameters, reached, expected) in [
            ("sslmode=disable", &[Reached::Nobody][..], "0- 1-"),
            ("sslmode=disable", &[REFUSED], "0-"),
            ("sslmode=disable", &[STARTING], "0- 1-"),
            ("sslmode=disable", &[Reached::Unsuitable], "0- 1-"),
            ("sslmode=disable", &[Reached::End], "0-"),
            ("sslmode=allow", &[Reached::Nobody], "0- 1-"),
            ("sslmode=allow", &[REFUSED], "0- 0?"),
            ("sslmode=allow", &[REFUSED, REFUSED_SECURE], "0- 0?"),
            ("sslmode=allow", &[REFUSED, Reached::Tls], "0- 0? 1-"),
            ("sslmode=prefer", &[Reached::Nobody], "0? 1?"),
            (
                "sslmode=prefer",
                &[Reached::Tls, Reached::Nobody],
                "0? 0- 1?",
            ),
            ("sslmode=prefer", &[REFUSED_SECURE, REFUSED], "0? 0-"),
            ("sslmode=prefer", &[REFUSED], "0?"),
            ("sslmode=require", &[Reached::Tls], "0+ 1+"),
            ("sslmode=require", &[REFUSED_SECURE], "0+"),
            ("sslmode=verify-full", &[Reached::Nobody], "0+ 1+"),
            (
                "sslmode=disable&target_session_attrs=prefer-standby",
                &[Reached::Unsuitable],
                "0- 1- 0- 1-",
            ),
            (
                "sslmode=disable&load_balance_hosts=random",
                &[Reached::Nobody],
                "1- 0-",
            ),
        ] {
            assert_eq!(
                round(parameters, reached),
                expected,
                "{parameters} {reached:?}"
            );
        }
    }
}
