//! What a bridge has to be told of its group, and which names of channels no client may use.

use super::GroupKey;
use crate::channel::{Channel, ChannelError};

/// The group that a bridge belongs to.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// The channel on which its bridges speak.
    pub control: Channel,
    /// The secret of the group, where it has one.
    pub key: Option<GroupKey>,
    /// Random and told to nobody.
    pub seed: u64,
}

impl GroupSettings {
    /// The control channel of the group of this name.
    pub fn control_channel(name: &str) -> Result<Channel, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        Channel::new(&format!("{CONTROL_PREFIX}{name}"))
    }
}

/// Whether the channel is one on which bridges speak: no client comes near it.
pub fn is_reserved(channel: &str) -> bool {
    channel.starts_with(CONTROL_PREFIX)
}

/// Names that begin so are control channels.
const CONTROL_PREFIX: &str = "alle group ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_group_is_that_of_a_channel_with_room_for_the_prefix() {
        let longest = Channel::BYTES_MAX - CONTROL_PREFIX.len();
        for (bytes, is_one) in [(0, false), (1, true), (longest, true), (longest + 1, false)] {
            let control = GroupSettings::control_channel(&"x".repeat(bytes));
            assert_eq!(control.is_ok(), is_one, "{bytes}");
            assert!(control.is_ok_and(|it| is_reserved(it.as_str())) == is_one);
        }
        assert!(!is_reserved("alle groups") && !is_reserved("alle probe 1"));
    }
}
