//! Who may come in, by the configuration and its files, and what the log has to say about that.
//!
//! Knows no socket and no hub.

use crate::{
    access::{
        Access,
        cookie::{TokenCookie, TokenCookieError},
        jwt::{Jwt, JwtRules},
        origins::{OriginPolicy, is_of_any_page},
    },
    config::BridgeConfig,
    error::BridgeError,
    token_file::CredentialFiles,
};

/// The files by which clients are known, where there are some.
pub(super) fn credential_files(config: &BridgeConfig) -> Option<CredentialFiles> {
    CredentialFiles::new(
        config.token_file.clone(),
        config.jwt.key_file.clone(),
        config.jwt.jwks_file.clone(),
    )
}

/// Who may come in, by the configuration and these files.
pub(super) fn access(
    config: &BridgeConfig,
    files: Option<&mut CredentialFiles>,
) -> Result<Access, BridgeError> {
    if config.proxies.is_futile() {
        return Err(BridgeError::NoTrustedProxy);
    }
    if !config.jwt.has_keys() && config.jwt.rules != JwtRules::default() {
        return Err(BridgeError::JwtWithoutKeys);
    }
    let mut access = Access {
        origins: OriginPolicy {
            allow_origins: config.allow_origins.clone(),
            allow_hosts: config.allow_hosts.clone(),
            allow_local_origins: config.allow_local_origins,
        },
        everybody: config.permissions.clone(),
        has_certificates: config.tls.client_ca.is_some(),
        has_function: config.auth_function.is_some(),
        ..Access::default()
    };
    access.cookie = token_cookie(config).map_err(BridgeError::TokenCookie)?;
    let Some(files) = files else {
        return Ok(access);
    };
    let read = files.read()?;
    access.tokens = read.tokens;
    if let Some(keys) = read.keys {
        let rules = config.jwt.rules.clone();
        let jwt = Jwt::new(keys, rules, &mut access.everybody).map_err(BridgeError::Template)?;
        access.jwt = Some(jwt);
    }
    Ok(access)
}

/// Whether clients have to present a token.
fn has_tokens(config: &BridgeConfig) -> bool {
    config.token_file.is_some() || config.jwt.has_keys() || config.auth_function.is_some()
}

/// The cookie that may bring tokens, where there is one.
fn token_cookie(config: &BridgeConfig) -> Result<Option<TokenCookie>, TokenCookieError> {
    let Some(name) = &config.token_cookie else {
        return Ok(None);
    };
    let cookie = TokenCookie::new(name)?;
    if !has_tokens(config) {
        return Err(TokenCookieError::WithoutTokens);
    }
    let mut origins = config.allow_origins.iter();
    match origins.find(|it| is_of_any_page(it)) {
        Some(origin) => Err(TokenCookieError::AnyOrigin(origin.clone())),
        None => Ok(Some(cookie)),
    }
}

/// Says what every valid JWT lets its bearer do, where nothing narrows it.
pub(super) fn warn_of_unbounded(config: &BridgeConfig) {
    let verb = match Jwt::is_unbounded(&config.jwt.rules, &config.permissions) {
        _ if !config.jwt.has_keys() => return,
        (true, true) => "subscribe and publish to every channel",
        (true, false) => "subscribe to every channel",
        (false, true) => "publish to every channel",
        (false, false) => return,
    };
    tracing::warn!(
        target: "alle::bridge",
        "every valid JWT lets its bearer {verb}: see --jwt-subscribe-claim, --jwt-publish-claim, \
         --allow-subscribe and --allow-publish"
    );
}
