//! The group that a configuration names, with its secret.
//!
//! Refuses to know what a bridge does in it.

use crate::{
    config::BridgeConfig,
    error::BridgeError,
    group_key_file,
    hub::group::{GroupKey, GroupSettings},
    startup,
};

/// What the bridge has to be told of its group, where the configuration names one.
pub(crate) fn settings(config: &BridgeConfig) -> Result<Option<GroupSettings>, BridgeError> {
    let Some(name) = &config.group else {
        return match config.group_key_file {
            Some(_) => Err(BridgeError::GroupKeyAlone),
            None => Ok(None),
        };
    };
    let key = config.group_key_file.as_deref().map(group_key_file::read);
    let key = key.transpose().map_err(BridgeError::GroupKey)?;
    of_name(name, key, config).map(Some)
}

/// The group that the workers of one parent form.
pub(crate) fn of_workers(
    name: &str,
    key: Option<GroupKey>,
    config: &BridgeConfig,
) -> Result<GroupSettings, BridgeError> {
    let group = of_name(name, key, config)?;
    Ok(GroupSettings {
        is_private: true,
        ..group
    })
}

/// The same of the group of this name.
fn of_name(
    name: &str,
    key: Option<GroupKey>,
    config: &BridgeConfig,
) -> Result<GroupSettings, BridgeError> {
    let control = GroupSettings::control_channel(name);
    let control = control.map_err(|error| BridgeError::GroupName(name.to_owned(), error))?;
    let limits = &config.limits;
    Ok(GroupSettings {
        control,
        key,
        seed: startup::seed().map_err(BridgeError::Io)?,
        is_private: false,
        fill_bytes_max: limits.history_bytes_max.min(limits.retained_bytes_max),
    })
}
