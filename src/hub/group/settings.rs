//! What a bridge has to be told of its group.

use super::GroupKey;
use crate::channel::{CONTROL_PREFIX, Channel, ChannelError};

/// The group that a bridge belongs to.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// The channel on which its bridges speak.
    pub control: Channel,
    /// The secret of the group, where it has one.
    pub key: Option<GroupKey>,
    /// Random and told to nobody.
    pub seed: u64,
    /// It is that of the workers of one parent, who says how they are.
    pub is_private: bool,
    /// So many bytes of what others heard are taken over at a time.
    pub fill_bytes_max: usize,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::is_reserved;

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
