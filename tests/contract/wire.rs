//! What carries a client's bytes: a socket, or TLS on it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::{harness::PATIENCE, patient::Patient};

pub enum Wire {
    Plain(Patient),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Patient>>),
}

impl Wire {
    pub fn plain(stream: TcpStream) -> Self {
        Self::Plain(patient(stream))
    }

    /// Under TLS as `config` says, with the server of this name; the handshake is done.
    #[cfg(feature = "tls")]
    pub fn secured(
        stream: TcpStream,
        config: &std::sync::Arc<rustls::ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let connection = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let mut tls = rustls::StreamOwned::new(connection, patient(stream));
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self::Tls(Box::new(tls)))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_ref(),
        }
    }
}

fn patient(stream: TcpStream) -> Patient {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    Patient(stream)
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }
}
