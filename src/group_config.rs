//! The group that a configuration names, with its secret.
//!
//! Refuses to know what a bridge does in it.

use crate::{
    config::BridgeConfig, error::BridgeError, group_key_file, hub::group::GroupSettings, startup,
};

/// What the bridge has to be told of its group, where the configuration names one.
pub(crate) fn settings(config: &BridgeConfig) -> Result<Option<GroupSettings>, BridgeError> {
    let Some(name) = &config.group else {
        return match config.group_key_file {
            Some(_) => Err(BridgeError::GroupKeyAlone),
            None => Ok(None),
        };
    };
    let control = GroupSettings::control_channel(name);
    let control = control.map_err(|error| BridgeError::GroupName(name.clone(), error))?;
    let key = config.group_key_file.as_deref().map(group_key_file::read);
    let limits = &config.limits;
    Ok(Some(GroupSettings {
        control,
        key: key.transpose().map_err(BridgeError::GroupKey)?,
        seed: startup::seed().map_err(BridgeError::Io)?,
        fill_bytes_max: limits.history_bytes_max.min(limits.retained_bytes_max),
    }))
}
