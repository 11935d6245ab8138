//! A build without TLS: clients speak in clear text, and whoever asks for more is told so.
//!
//! The same names as in `client_tls.rs`, of which only the error can exist.

#![expect(clippy::disallowed_types, reason = "the reactor is where sockets live")]
#![expect(clippy::needless_pass_by_ref_mut, reason = "as in `client_tls.rs`")]

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use mio::{Waker, net::TcpStream};

use crate::{
    config::{TlsConfig, TlsConfigError},
    delivery::outgoing::{Outgoing, Written},
    metrics::Metrics,
    ticket_keys::SharedTicketKeys,
};

#[derive(Debug)]
pub(crate) struct TlsSource(Infallible);

impl TlsSource {
    pub(crate) fn read(
        tls: &TlsConfig,
        _keys: Option<SharedTicketKeys>,
    ) -> Result<Option<Self>, TlsConfigError> {
        let is_wanted = tls.is_on() || !tls.keys.is_empty() || tls.admin || tls.client_ca.is_some();
        if is_wanted {
            return Err(TlsConfigError::Absent);
        }
        tls.check()?;
        Ok(None)
    }
}

pub(super) struct ClientCertificate {
    pub(super) identity: String,
    pub(super) ends_at: Duration,
}

pub(super) struct ClientTls(Infallible);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "nothing of it comes about without TLS")]
pub(super) enum Input {
    Plain { is_more: bool },
    End,
    Lost,
}

impl ClientTls {
    pub(super) fn new(from: TlsSource, _waker: Arc<Waker>) -> io::Result<Self> {
        match from.0 {}
    }

    pub(super) fn is_for_admin(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn ends_at(&self) -> Option<u64> {
        match self.0 {}
    }

    pub(super) fn renew(&self) {
        match self.0 {}
    }

    pub(super) fn poll_renewed(&mut self) -> Option<Result<(), TlsConfigError>> {
        match self.0 {}
    }

    pub(super) fn has_begun(&self, _slot: usize) -> bool {
        match self.0 {}
    }

    pub(super) fn begin(&mut self, _slot: usize, _is_admin: bool) {
        match self.0 {}
    }

    pub(super) fn certificate(&self, _slot: usize) -> Option<ClientCertificate> {
        match self.0 {}
    }

    pub(super) fn clear(&mut self, _slot: usize) {
        match self.0 {}
    }

    pub(super) fn is_shaking(&self, _slot: usize) -> bool {
        match self.0 {}
    }

    pub(super) fn kept_bytes(&self, _slot: usize) -> usize {
        match self.0 {}
    }

    pub(super) fn plain(&mut self) -> &mut [u8] {
        match self.0 {}
    }

    pub(super) fn read(
        &mut self,
        _slot: usize,
        _socket: &TcpStream,
        _first: usize,
        _buffer: &mut [u8],
        _metrics: &mut Metrics,
    ) -> Input {
        match self.0 {}
    }

    pub(super) fn write(
        &mut self,
        _slot: usize,
        _socket: &TcpStream,
        _bytes: &Outgoing<'_>,
    ) -> io::Result<Written> {
        match self.0 {}
    }

    pub(super) fn flush(&mut self, _slot: usize, _socket: &TcpStream) -> io::Result<bool> {
        match self.0 {}
    }

    pub(super) fn finish(&mut self, _slot: usize, _socket: &TcpStream) {
        match self.0 {}
    }
}
