//! Tickets (RFC 5077; RFC 8446, 4.6.1): the state of a session, sealed, which its client keeps for us.
//!
//! Owns what a ticket is good for. The keys, and their rotation, are not its own.

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest, hmac,
};
use rustls::server::ProducesTickets;

use crate::ticket_keys::{Key, ROTATION, SharedTicketKeys};

/// Makes and opens the tickets of one purpose.
#[derive(Debug)]
pub(super) struct Tickets {
    keys: SharedTicketKeys,
    purpose: digest::Digest,
}

impl Tickets {
    /// A ticket is opened where `purpose` is the same: all that decides who may come, since a client
    /// that comes with a ticket is asked nothing more.
    pub(super) fn new(keys: SharedTicketKeys, purpose: &[u8]) -> Self {
        let purpose = digest::digest(&digest::SHA256, purpose);
        Self { keys, purpose }
    }

    /// Safe to use in any number of processes: a nonce that comes twice shows no more than that two
    /// tickets are the same (RFC 8452).
    fn cipher(&self, key: &Key) -> Option<RandomizedNonceKey> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let key = hmac::sign(&key, self.purpose.as_ref());
        RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_ref()).ok()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(2 * ROTATION.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let cipher = self.cipher(self.keys.now().current())?;
        let mut sealed = plain.to_vec();
        let nonce = cipher.seal_in_place_append_tag(Aad::empty(), &mut sealed);
        Some([&nonce.ok()?.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.now();
        let [next, current, last] = keys.all();
        [current, last, next].into_iter().find_map(|key| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let cipher = self.cipher(key)?;
            let plain = cipher.open_in_place(nonce, Aad::empty(), &mut sealed);
            Some(plain.ok()?.to_vec())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket_keys::TicketKeys;

    fn keys(first: u8) -> TicketKeys {
        let [next, current, last] = [first + 1, first, first - 1].map(|it| [it; 32]);
        TicketKeys::received([next, current, last])
    }

    #[test]
    fn a_ticket_is_opened_by_each_process_with_the_keys_and_until_the_second_rotation() {
        let purpose = b"clients";
        let maker = Tickets::new(SharedTicketKeys::new(keys(10)), purpose);
        let ticket = maker.encrypt(b"a session").unwrap();
        let other = SharedTicketKeys::new(keys(10));
        let opener = Tickets::new(other.clone(), purpose);
        let opened = || opener.decrypt(&ticket);
        assert_eq!(opened().as_deref(), Some(&b"a session"[..]));
        for (first, is_opened) in [(9, true), (11, true), (12, false), (8, false)] {
            other.set(keys(first));
            assert_eq!(opened().is_some(), is_opened, "{first}");
        }
        let mut rotated = keys(10);
        rotated.rotate([12; 32]);
        assert_eq!(rotated, keys(11));
    }

    #[test]
    fn a_ticket_for_something_else_or_that_was_changed_is_none() {
        let keys = SharedTicketKeys::new(keys(10));
        let maker = Tickets::new(keys.clone(), b"clients");
        let ticket = maker.encrypt(b"a session").unwrap();
        let other = Tickets::new(keys, b"operators");
        assert_eq!(other.decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(maker.decrypt(&changed), None);
            assert_eq!(maker.decrypt(&ticket[..at]), None);
        }
    }
}
