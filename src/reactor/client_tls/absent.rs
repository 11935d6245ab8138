//! A build without TLS: clients speak in clear text, and whoever asks for more is told so.
//!
//! The same names as in `client_tls.rs`, of which only the error can exist.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]
#![expect(clippy::needless_pass_by_ref_mut, reason = "as in `client_tls.rs`")]

use std::{convert::Infallible, io};

use mio::net::TcpStream;

use crate::{
    config::{TlsConfig, TlsConfigError},
    delivery::outgoing::{Outgoing, Written},
    metrics::Metrics,
};

#[derive(Debug)]
pub(crate) struct TlsSetup(Infallible);

impl TlsSetup {
    pub(crate) fn read(tls: &TlsConfig) -> Result<Option<Self>, TlsConfigError> {
        if tls.is_on() || !tls.keys.is_empty() || tls.admin {
            return Err(TlsConfigError::Absent);
        }
        Ok(None)
    }

    pub(super) fn ends_at(&self) -> Option<u64> {
        match self.0 {}
    }
}

pub(super) struct ClientTls {
    pub(super) is_for_admin: bool,
    never: Infallible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "nothing of it comes about without TLS")]
pub(super) enum Input {
    Plain { is_more: bool },
    End,
    Clear,
    Lost,
}

impl ClientTls {
    pub(super) fn new(setup: TlsSetup) -> Self {
        match setup.0 {}
    }

    pub(super) fn clear(&mut self, _slot: usize) {
        match self.never {}
    }

    pub(super) fn is_shaking(&self, _slot: usize) -> bool {
        match self.never {}
    }

    pub(super) fn kept_bytes(&self, _slot: usize) -> usize {
        match self.never {}
    }

    pub(super) fn plain(&mut self) -> &mut [u8] {
        match self.never {}
    }

    pub(super) fn read(
        &mut self,
        _slot: usize,
        _socket: &TcpStream,
        _buffer: &mut [u8],
        _metrics: &mut Metrics,
    ) -> Input {
        match self.never {}
    }

    pub(super) fn write(
        &mut self,
        _slot: usize,
        _socket: &TcpStream,
        _bytes: &Outgoing<'_>,
    ) -> io::Result<Written> {
        match self.never {}
    }

    pub(super) fn flush(&mut self, _slot: usize, _socket: &TcpStream) -> io::Result<bool> {
        match self.never {}
    }

    pub(super) fn finish(&mut self, _slot: usize, _socket: &TcpStream) {
        match self.never {}
    }
}
